"""Frame sources: files, folders, globs and cameras, all behind `open_source`."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.core.errors import SourceError
from crwedge.runtime.sources.cameras import resolve_camera
from crwedge.runtime.sources.frame import FrameSource
from crwedge.runtime.sources.images import IMAGE_SUFFIXES, ImageSource
from crwedge.runtime.sources.uri import NETWORK, knock_of, split_wishes, without_credentials

if TYPE_CHECKING:
    from crwedge.runtime.sources.video import VideoSource


def open_source(source: str | Path, tell: Callable[..., None] | None = None, patience: float = 5.0) -> FrameSource:
    """Open a source by its name.

    Args:
        source: a video file, a folder of pictures, a glob ("shots/*.jpg"), `-` for a video on standard input, `camera0`
            (the alias table of the user's configuration, else /dev/video0), `v4l2:///dev/video0`, `csi://0`, or a network
            address (rtsp, http, udp, srt, ...). What is asked of a camera follows a `#`: see `split_wishes`.
        tell: told of what happens to a live source: a word and its facts. By default one JSON line each on stderr.
        patience: seconds without a frame after which a live source is opened again.

    Raises:
        SourceError: one line that says what is wrong.
    """
    text = resolve_camera(str(source))
    if text == "-":
        return video("pipe:0", "standard input", live=False)
    scheme = text.split("://", 1)[0] if "://" in text else ""
    if text.startswith("/dev/video") or scheme in ("v4l2", "csi", *NETWORK):
        return _open_live(text, scheme, tell, patience)
    if scheme == "file":
        text = text.removeprefix("file://")
    elif scheme:
        raise SourceError(f"unknown kind of source {scheme}://; known are v4l2, csi, file, {', '.join(NETWORK)}")
    path = Path(text)
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        if not found:
            raise SourceError(f"the folder {path} holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
        return ImageSource(found, str(path))
    if not path.exists() and any(character in text for character in "*?["):
        found = [Path(p) for p in glob.glob(text, recursive=True) if Path(p).suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise SourceError(f"no picture matches {text}")
        return ImageSource(found, text)
    if not path.exists():
        raise SourceError(f"there is no file, folder or camera {text}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource([path], str(path))
    return video(str(path), str(path), live=False)


def video(url: str, name: str, **more: Any) -> VideoSource:
    """A `VideoSource`; PyAV is imported when the first one is opened."""
    from crwedge.runtime.sources.video import VideoSource

    return VideoSource(url, name, **more)


def _open_live(text: str, scheme: str, tell: Callable[..., None] | None, patience: float) -> FrameSource:
    """A camera or network stream that recovers; a file behind http that says its length is read as a file."""
    from crwedge.runtime.events import EventLog
    from crwedge.runtime.sources.reconnecting import RecoveringSource

    address, wishes = split_wishes(text)
    device = address.removeprefix("v4l2://")
    tell = EventLog() if tell is None else tell
    more: dict[str, Any] = {"patience": patience, "hwaccel": wishes.get("hwaccel")}
    if scheme == "csi":
        from crwedge.runtime.sources.csi import CsiSource

        number = address.removeprefix("csi://")
        return RecoveringSource(lambda: CsiSource(number, wishes), address, patience, tell)
    if scheme not in NETWORK:
        if not Path(device).exists():
            raise SourceError(f"there is no camera {device}; `crwedge doctor` lists those this machine has")
        names = {"size": "video_size", "fps": "framerate", "format": "input_format"}
        options = {names[wish]: value for wish, value in wishes.items() if wish in names}

        def connect() -> FrameSource:
            return video(device, device, live=True, form="v4l2", options=options, **more)

        return RecoveringSource(connect, device, patience, tell, knock_of(device))
    name = without_credentials(address)
    # A quarter of a second of a stream tells all that is needed; five, the default, would be missing after each restart.
    # (`nobuffer` would throw the first key frame away with what was looked at, and wait for the next one.)
    options = {"analyzeduration": "250000", "probesize": "500000", "fpsprobesize": "0"}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = wishes.get("transport", "tcp")
    if scheme.startswith("http"):
        options = {}

    def dial() -> VideoSource:
        return video(address, name, live=True, options=options, **more)

    if scheme.startswith("http"):
        first = dial()
        if first.finite:
            first.close()
            return video(address, name, live=False, hwaccel=wishes.get("hwaccel"))
        waiting = [first]
        return RecoveringSource(lambda: waiting.pop() if waiting else dial(), name, patience, tell, knock_of(address))
    return RecoveringSource(dial, name, patience, tell, knock_of(address))
