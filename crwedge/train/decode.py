"""Read pictures and moments of videos with PyAV and Pillow, seeking instead of reading whole files."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.images import resize_frame

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


@dataclass(frozen=True)
class Location:
    """Where the bytes of a file lie: a file of its own, or a stretch of a .tar shard."""

    path: str
    offset: int = 0
    length: int = -1
    """-1: to the end of the file."""
    name: str = ""
    """Of the member of a shard."""

    def open(self) -> Any:
        """What PyAV and Pillow read from: a path or a file object."""
        if self.length < 0:
            return self.path
        return _Stretch(self.path, self.offset, self.length)

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else self.path


class _Stretch(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, path: str, offset: int, length: int) -> None:
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed with this object
        self._offset, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._length - self._at))
        self._file.seek(self._offset + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class VideoFacts:
    """What the index keeps of a video."""

    seconds: float
    """From the first frame to the end of the last."""
    rate: float
    """Mean frames a second."""
    height: int
    width: int


def probe_video(location: Location) -> VideoFacts:
    """Duration and size, from the header where it says so, else by reading the packets without decoding.

    Raises:
        SourceError: not a readable video with at least one frame.
    """
    try:
        with _quiet().open(location.open(), mode="r") as container:
            if not container.streams.video:
                raise SourceError("it has no picture, only sound")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            seconds = 0.0
            if stream.duration:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration and len(container.streams) == 1:
                seconds = container.duration / 1e6
            if not seconds or not stream.width:
                times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]
                if not times:
                    raise SourceError("it holds no frames")
                seconds = max(times) - min(times) + 1 / rate
                rate = max(len(times) / seconds, 1e-3)
            return VideoFacts(seconds, rate, stream.height, stream.width)
    except SourceError:
        raise
    except Exception as error:  # PyAV raises a family of its own, and OSError, ValueError and others beside it
        raise SourceError(_reason(error)) from error


def video_frames(location: Location, short_side: int, rate: float) -> Iterator[NDArray[np.uint8]]:
    """Yield the whole video at `rate` frames a second at most: RGB uint8 (H, W, 3), shrunk to `short_side`.

    Raises:
        SourceError: the file cannot be decoded (any further).
    """
    due = 0.0
    for seconds, frame in _decoded(location, 0.0):
        if seconds + 1e-3 >= due:
            due = max(due + 1 / rate, seconds)
            yield _to_rgb(frame, short_side)


def video_clip(location: Location, times: Sequence[float], short_side: int) -> list[NDArray[np.uint8]]:
    """The frames that are on display at the given rising times (seconds): RGB uint8 (H, W, 3), shrunk to `short_side`.

    Raises:
        SourceError: nothing can be decoded there.
    """
    wanted = list(times)
    chosen: list[Any] = []
    last: Any = None
    for seconds, frame in _decoded(location, wanted[0]):
        while len(chosen) < len(wanted) and last is not None and seconds > wanted[len(chosen)] + 1e-4:
            chosen.append(last)
        last = frame
        if len(chosen) == len(wanted):
            break
    if last is None:
        raise SourceError("no frame can be decoded")
    chosen += [last] * (len(wanted) - len(chosen))
    pictures: dict[int, NDArray[np.uint8]] = {}
    for frame in chosen:
        if id(frame) not in pictures:
            pictures[id(frame)] = _to_rgb(frame, short_side)
    return [pictures[id(frame)] for frame in chosen]


def read_picture(location: Location, short_side: int = 0) -> NDArray[np.uint8]:
    """A picture file as RGB uint8 (H, W, 3), shrunk to `short_side` (0: kept). SourceError when it is none."""
    from PIL import Image

    try:
        with Image.open(location.open()) as image:
            if short_side:
                # JPEGs are decoded at a fraction of their size, which is several times faster.
                image.draft("RGB", (2 * short_side, 2 * short_side))
            frame = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises what each format's reader raises
        raise SourceError(_reason(error)) from error
    return resize_frame(frame, _shrunk(frame.shape[0], frame.shape[1], short_side))


def _decoded(location: Location, start: float) -> Iterator[tuple[float, Any]]:
    av = _quiet()
    try:
        with av.open(location.open(), mode="r") as container:
            if not container.streams.video:
                raise SourceError("it has no picture, only sound")
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            base = float(stream.time_base or 0) or 1e-6
            origin = (stream.start_time or 0) * base
            if start > 0.5:
                container.seek(round((start + origin) / base), stream=stream, backward=True)
            for count, frame in enumerate(container.decode(stream)):
                seconds = (
                    frame.pts * base - origin if frame.pts is not None else count / float(stream.average_rate or 25)
                )
                yield seconds, frame
    except SourceError:
        raise
    except Exception as error:  # see probe_video
        raise SourceError(_reason(error)) from error


def _to_rgb(frame: Any, short_side: int) -> NDArray[np.uint8]:
    height, width = _shrunk(frame.height, frame.width, short_side)
    if frame.format.name == "rgb24" and (height, width) == (frame.height, frame.width):
        return np.asarray(frame.to_ndarray(), np.uint8)
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return np.asarray(small.to_ndarray(), np.uint8)


def _shrunk(height: int, width: int, short_side: int) -> tuple[int, int]:
    short = min(height, width)
    if not short_side or short <= short_side:
        return height, width
    return round(height * short_side / short), round(width * short_side / short)


def _quiet() -> Any:
    import av

    # Broken files are named by us, once; libav would print lines of its own for each.
    av.logging.set_level(av.logging.PANIC)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    return av


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def size_of(path: str | Path) -> int:
    """Bytes of a file, 0 when it is missing."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
