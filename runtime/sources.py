"""Frame sources: files, folders, globs and cameras, all behind `open_source`."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.runtime.cameras import resolve_camera

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
NETWORK = ("http", "https", "rtsp", "rtsps", "srt", "tcp", "udp")


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    index: int
    """From 0."""
    pts: float | None = None
    """Seconds, where the source has time stamps."""


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


class _Closing:
    """What all sources share: leaving the block closes."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to give back."""


class ImageSource(_Closing):
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


class VideoSource(_Closing):
    """A video file, camera or network stream, decoded by FFmpeg's libraries (PyAV)."""

    def __init__(
        self, url: str, name: str, *, live: bool, options: dict[str, str] | None = None, form: str | None = None
    ):
        """Open it; SourceError when it is missing, unreadable or without pictures."""
        import av

        self.name, self.live = name, live
        try:
            self._container = av.open(url, format=form, options=options or {}, timeout=(10.0, 10.0) if live else None)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"cannot open {name}: {_reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{name} has no pictures (no video stream)")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "NONE" if live else "AUTO"
        rate = self._stream.average_rate
        self.fps = float(rate) if rate else None
        self.length = self._stream.frames or None

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, upright.

        Raises:
            SourceError: after the last good frame, when the file is damaged or shorter than it says.
        """
        import av

        index = 0
        try:
            for picture in self._container.decode(self._stream):
                image = picture.to_ndarray(format="rgb24")
                turns = round(getattr(picture, "rotation", 0) / 90) % 4
                if turns:
                    image = np.ascontiguousarray(np.rot90(image, turns))
                yield Frame(image, index, None if picture.time is None else float(picture.time))
                index += 1
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} is damaged after {index} frames: {_reason(error)}") from error
        if index == 0:
            raise SourceError(f"{self.name} holds no readable frame")
        if self.length is not None and index < self.length and not self.live:
            raise SourceError(f"{self.name} is cut short: it says {self.length} frames and holds {index}")

    def close(self) -> None:
        """Close the file or device."""
        self._container.close()


def open_source(source: str | Path) -> FrameSource:
    """Open a source by its name.

    Args:
        source: a video file, a folder of pictures, a glob ("shots/*.jpg"), `camera0` (the alias table of the user's
            configuration, else /dev/video0), `v4l2:///dev/video0`, or a network address (rtsp, http, udp, ...).

    Raises:
        SourceError: one line that says what is wrong.
    """
    text = resolve_camera(str(source))
    scheme = text.split("://", 1)[0] if "://" in text else ""
    if scheme == "v4l2" or text.startswith("/dev/video"):
        device = text.removeprefix("v4l2://")
        if not Path(device).exists():
            raise SourceError(f"there is no camera {device}; `crwedge doctor` lists those this machine has")
        return VideoSource(device, device, live=True, form="v4l2")
    if scheme in NETWORK:
        options = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {}
        return VideoSource(text, without_credentials(text), live=True, options=options)
    if scheme == "file":
        text = text.removeprefix("file://")
    elif scheme:
        raise SourceError(f"unknown kind of source {scheme}://; known are v4l2, file, {', '.join(NETWORK)}")
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
    return VideoSource(str(path), str(path), live=False)


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


def without_credentials(url: str) -> str:
    """The address with user and password left out, for messages and logs."""
    return re.sub(r"://[^/@]*@", "://", url)


def _reason(error: Exception) -> str:
    # FFmpeg's own words end with the address, which may hold a password.
    return getattr(error, "strerror", None) or str(error).splitlines()[0].split(": '")[0]
