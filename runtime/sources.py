"""Frame sources: files, folders, globs and cameras, all behind `open_source`."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.runtime.address import NETWORK, knock_of, split_wishes, without_credentials
from crwedge.runtime.cameras import resolve_camera
from crwedge.runtime.closing import Closing

if TYPE_CHECKING:
    from crwedge.runtime.video import VideoSource

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    index: int
    """From 0."""
    pts: float | None = None
    """Seconds, where the source has time stamps."""
    after_gap: bool = False
    """Whether frames are missing before it, because the source had to be opened again or changed its size."""


class FrameSource(Protocol):
    """A context manager that yields frames in order."""

    name: str
    live: bool
    """Whether frames come by themselves, so that late ones may have to be dropped."""
    fps: float | None
    """Frames a second, where known."""
    length: int | None
    """Number of frames, where known."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, once."""
        ...

    def __enter__(self) -> FrameSource:
        """The source itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...

    def close(self) -> None:
        """Give the device or file back."""
        ...


class ImageSource(Closing):
    """Pictures of one size, in natural order of their names (2 before 10)."""

    live = False
    fps: float | None = None

    def __init__(self, paths: list[Path], name: str) -> None:
        """Sizes are checked as the pictures are read."""
        self.name = name
        self.paths = sorted(paths, key=lambda path: natural_key(path.name))
        self.length: int | None = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every picture."""
        size: tuple[int, ...] | None = None
        for index, path in enumerate(self.paths):
            image = read_image(path)
            if size is not None and image.shape != size:
                raise SourceError(
                    f"{path} is {image.shape[1]}x{image.shape[0]}, the pictures before it {size[1]}x{size[0]}; "
                    "a folder must hold one size"
                )
            size = image.shape
            yield Frame(image, index)


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
    from crwedge.runtime.video import VideoSource

    return VideoSource(url, name, **more)


def _open_live(text: str, scheme: str, tell: Callable[..., None] | None, patience: float) -> FrameSource:
    """A camera or network stream that recovers; a file behind http that says its length is read as a file."""
    from crwedge.runtime.events import EventLog
    from crwedge.runtime.recovering import RecoveringSource

    address, wishes = split_wishes(text)
    device = address.removeprefix("v4l2://")
    tell = EventLog() if tell is None else tell
    more: dict[str, Any] = {"patience": patience, "hwaccel": wishes.get("hwaccel")}
    if scheme == "csi":
        from crwedge.runtime.csi import CsiSource

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


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture as RGB uint8 (H, W, 3), upright; SourceError when it cannot be read."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(f"{path} cannot be read as a picture ({error})") from error


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
