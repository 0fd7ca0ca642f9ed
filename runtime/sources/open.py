"""Frame sources: files, folders, globs and cameras, all behind `open_source`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.core.errors import SourceError
from crwedge.core.films import VIDEO_SUFFIXES
from crwedge.core.location import is_hidden, natural_key
from crwedge.core.pictures import IMAGE_SUFFIXES, is_animated, is_picture, list_pictures
from crwedge.runtime.sources.cameras import resolve_camera
from crwedge.runtime.sources.frame import FrameSource
from crwedge.runtime.sources.images import ImageSource
from crwedge.runtime.sources.uri import (
    FILE_OPTIONS,
    NETWORK,
    camera_size,
    file_path,
    is_reachable,
    matching,
    parse_source_options,
    redact,
    scheme_of,
)

if TYPE_CHECKING:
    from crwedge.runtime.sources.video import VideoSource


def open_source(
    source: str | Path | int,
    on_event: Callable[..., None] | None = None,
    patience: float = 5.0,
    *,
    start: int | None = None,
    reverse: bool = False,
    skip_damaged: bool = False,
) -> FrameSource:
    """Open a source by its name.

    Args:
        source: a video file, a folder of pictures, a glob ("shots/*.jpg"), `-` for a video on standard input, `camera0` or 0
            (the alias table of the user's configuration, else /dev/video0), `v4l2:///dev/video0`, `csi://0`, or a network
            address (rtsp, http, udp, srt, ...). Options follow a `#`: see `parse_source_options`. A path that exists is
            that file, whatever it looks like.
        on_event: called with each event of a live source: its name and its facts. By default one JSON line each on stderr.
        patience: seconds without a frame after which a live source is opened again.
        start: number of the frame to begin with, from 0; not of a live source.
        reverse: go backwards, from `start` or from the last frame; not a live source.
        skip_damaged: skip and count damaged packets of a file instead of stopping there.

    Raises:
        SourceError: one line that says what is wrong.
    """
    opened = _open(source, on_event, patience, skip_damaged)
    if start is None and not reverse:
        return opened
    from crwedge.runtime.sources.span import SpanSource

    try:
        return SpanSource(opened, start, reverse)
    except SourceError:
        opened.close()
        raise


def is_recorded(source: str | Path | int) -> bool:
    """Whether a source is, by its name, a file or folder of this machine; nothing is opened."""
    text = resolve_camera(f"camera{source}" if isinstance(source, int) else str(source))
    return not (text == "-" or text.startswith("/dev/video") or scheme_of(text) not in ("", "file"))


def video(url: str | Path, name: str, **more: Any) -> VideoSource:
    """A `VideoSource`; PyAV is imported when the first one is opened."""
    from crwedge.runtime.sources.video import VideoSource

    return VideoSource(url, name, **more)


def _open(
    source: str | Path | int, on_event: Callable[..., None] | None, patience: float, skip_damaged: bool
) -> FrameSource:
    text = resolve_camera(f"camera{source}" if isinstance(source, int) else str(source))
    if not text.strip():
        raise SourceError("the name of the source is empty; name a film, a folder of pictures or a camera")
    if text == "-":
        return video("pipe:0", "standard input", live=False, skip_damaged=skip_damaged)
    scheme = scheme_of(text)
    if text.startswith("/dev/video") or scheme in ("v4l2", "csi", *NETWORK):
        return _open_live(text, scheme, on_event, patience)
    if scheme == "file":
        text = file_path(text)
    elif scheme:
        raise SourceError(f"unknown kind of source {scheme}://; choose one of v4l2, csi, file, {', '.join(NETWORK)}")
    path = Path(text)
    options: dict[str, str] = {}
    if not os.path.lexists(path) and "#" in text and os.path.isfile(text.partition("#")[0]):
        text, options = parse_source_options(text)
        path = Path(text)
        if foreign := set(options) - set(FILE_OPTIONS):
            raise SourceError(f"a file has no option {sorted(foreign)[0]}; choose one of {', '.join(FILE_OPTIONS)}")
    if os.path.isdir(path):
        return ImageSource(_of_folder(path), str(path))
    if not os.path.lexists(path) and any(character in text for character in "*?["):
        found = [p for p in matching(text) if is_picture(p)]
        if not found:
            raise SourceError(f"no picture matches {text}")
        return ImageSource(found, text)
    if not os.path.exists(path):
        raise SourceError(f"there is no file, folder or camera {text}")
    if path.suffix.lower() in IMAGE_SUFFIXES and not is_animated(path):
        return ImageSource([path], str(path))
    stream = int(options["stream"]) if "stream" in options else None
    return video(path, str(path), live=False, stream=stream, hwaccel=options.get("hwaccel"), skip_damaged=skip_damaged)


def _of_folder(path: Path) -> list[Path]:
    try:
        found = list_pictures(path)
    except OSError as error:
        raise SourceError(f"the folder {path} cannot be read: {error.strerror}") from error
    if not found:
        raise SourceError(f"the folder {path} holds no pictures that can be read; {_what_is_in(path)}")
    return found


def _what_is_in(path: Path) -> str:
    """What a folder without pictures holds, and what to do."""
    inside = [p for p in path.iterdir() if not is_hidden(p.name)]
    folders = sorted((p.name for p in inside if p.is_dir()), key=natural_key)
    kinds = Counter(p.suffix.lower() or "no suffix" for p in inside if p.is_file())
    films = [kind for kind in kinds if kind in VIDEO_SUFFIXES]
    if films:
        return f"it holds {kinds[films[0]]} {films[0]}: name a film itself"
    if kinds:
        names = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        return f"it holds {names}: pictures of other kinds have to be saved as PNG or JPEG"
    if folders:
        return f"it holds folders ({', '.join(folders[:3])}{', ...' if len(folders) > 3 else ''}): name one of them"
    return "it is empty"


def _open_live(text: str, scheme: str, on_event: Callable[..., None] | None, patience: float) -> FrameSource:
    """A camera or network stream that reconnects; a file behind http that says its length is read as a file."""
    from crwedge.runtime.events import EventLog
    from crwedge.runtime.sources.reconnecting import ReconnectingSource

    address, wanted = parse_source_options(text)
    size = camera_size(wanted["size"]) if "size" in wanted else None
    device = address.removeprefix("v4l2://")
    on_event = EventLog() if on_event is None else on_event
    more: dict[str, Any] = {"patience": patience, "hwaccel": wanted.get("hwaccel")}
    if scheme == "csi":
        from crwedge.runtime.sources.csi import CsiSource

        number = address.removeprefix("csi://")
        return ReconnectingSource(lambda: CsiSource(number, wanted), address, patience, on_event)
    if scheme not in NETWORK:
        if not Path(device).exists():
            raise SourceError(f"there is no camera {device}; `crwedge doctor` lists those this machine has")
        names = {"size": "video_size", "fps": "framerate", "format": "input_format"}
        options = {names[name]: value for name, value in wanted.items() if name in names}
        if size is not None:
            # FFmpeg has the width first.
            options["video_size"] = f"{size[1]}x{size[0]}"

        def connect() -> FrameSource:
            return video(device, device, live=True, form="v4l2", options=options, **more)

        return ReconnectingSource(connect, device, patience, on_event, is_reachable(device))
    more["stream"] = int(wanted["stream"]) if "stream" in wanted else None
    name = redact(address)
    # A quarter of a second of a stream tells all that is needed; five, the default, would be missing after each restart.
    # (`nobuffer` would throw the first key frame away with what was looked at, and wait for the next one.)
    options = {"analyzeduration": "250000", "probesize": "500000", "fpsprobesize": "0"}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = wanted.get("transport", "tcp")
    if scheme.startswith("http"):
        options = {}

    def dial() -> VideoSource:
        return video(address, name, live=True, options=options, **more)

    if scheme.startswith("http"):
        first = dial()
        if first.finite:
            first.close()
            return video(address, name, live=False, hwaccel=wanted.get("hwaccel"), stream=more["stream"])
        waiting = [first]
        return ReconnectingSource(
            lambda: waiting.pop() if waiting else dial(), name, patience, on_event, is_reachable(address)
        )
    return ReconnectingSource(dial, name, patience, on_event, is_reachable(address))
