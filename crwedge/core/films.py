"""The reader of all films: it selects the stream, corrects the orientation, gives the times, and detects truncated files."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from crwedge.core.animated import AnimatedPicture
from crwedge.core.containers import is_cut_short
from crwedge.core.errors import SourceError
from crwedge.core.location import Location, Where, path_of
from crwedge.core.pictures import begins_as_picture, check_pixels, is_animated, one_line

VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc"),
    *(".ivf", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
)
"""Suffixes of the films that folders are searched for. A film given by its own path may have any name."""
_SEEKS_FROM = 0.5
"""Seconds; for frames before this time, a film is read from its start."""


class Film:
    """Pictures of a film in the order in which they are shown, decoded by FFmpeg's libraries.

    Args:
        where: a file, a stretch of one, or whatever else FFmpeg opens.
        name: what errors call it.
        stream: which of several video streams, from 0. Covers of sound files do not count.
        threads: `AUTO`, `SLICE` or `NONE`.
        skip_damaged: skip packets that cannot be decoded, and count them.
        how: further arguments of `av.open`.

    Raises:
        SourceError: it is missing, unreadable or without such a stream.
    """

    def __init__(
        self,
        where: Where,
        name: str | None = None,
        *,
        stream: int = 0,
        threads: str = "AUTO",
        skip_damaged: bool = False,
        **how: Any,
    ) -> None:
        self.where, self.name, self.skip_damaged = where, str(where) if name is None else name, skip_damaged
        self.damaged = 0
        """Packets that could not be decoded."""
        self.concealed = 0
        """Pictures with damage that the decoder filled in."""
        self._number, self._threads, self._how = stream, threads, how
        self._turn = 0
        self._open()
        video = self._stream
        rate = video.average_rate or video.guessed_rate
        self.rate: Fraction | None = Fraction(rate) if rate else None
        """Mean frames a second, where known."""
        self.promised: int | None = video.frames or None
        """Frames by the header: a hint."""
        self.height: int = video.height
        self.width: int = video.width
        check_pixels(self.height, self.width, self.name)
        aspect = video.sample_aspect_ratio
        self.pixel_aspect: Fraction | None = Fraction(aspect) if aspect and aspect != 1 else None
        """Width of a pixel over its height as stored, where it is not square."""
        self.finite = bool(self._container.duration)
        """Whether its length is known."""
        self.seconds = self._header_seconds()
        """Length by the header; 0 where the header has none."""
        start = video.start_time
        self.origin = float(start * video.time_base) if start is not None and video.time_base else 0.0
        """Time stamp of the first picture, in seconds."""

    def pictures(self, start: float = 0.0) -> Iterator[Any]:
        """Decoded pictures (`av.VideoFrame`), from one at or before `start` seconds after the first.

        Raises:
            SourceError: after the last good one, where the file is damaged or breaks off.
        """
        if start <= _SEEKS_FROM:
            yield from self._from_the_start()
            return
        back = 0.0
        while start - back > _SEEKS_FROM:
            # Transport streams and files without an index are found too late: go back until the time is covered.
            pictures = self._sought(start - back)
            first = next(pictures, None)
            if first is not None and first.pts is not None and self.seconds_of(first) <= start + 1e-6:
                yield first
                yield from pictures
                return
            pictures.close()
            back = max(1.0, 3 * back)
        yield from self._from_the_start()

    def timed(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Pictures with the seconds since the first one: never falling, also where stamps are missing or fall."""
        step = float(1 / self.rate) if self.rate else 1 / 25
        last: float | None = None
        for picture in self.pictures(start):
            seconds = None if picture.pts is None else self.seconds_of(picture)
            if seconds is None:
                seconds = 0.0 if last is None else last + step
            last = seconds if last is None or seconds > last else last + (step if seconds < last - 1.0 else 0.0)
            yield last, picture

    def seconds_of(self, picture: Any) -> float:
        """Seconds from the first picture to this one, by its stamp."""
        return float(picture.pts * (picture.time_base or self._stream.time_base)) - self.origin

    def stamps(self) -> list[float]:
        """Seconds since the first picture of every picture that is shown, in order, without decoding any."""
        import av

        self._reopen()
        self._turn += 1
        found = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and packet.size and not packet.is_discard:
                    found.append(float(packet.pts * packet.time_base) - self.origin)
        except (av.error.FFmpegError, OSError):
            # What is there counts.
            pass
        return sorted(found)

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        if hasattr(self._file, "close"):
            self._file.close()

    def __enter__(self) -> Film:
        """The film itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _open(self) -> None:
        import av

        self._file = _input_of(self.where)
        try:
            self._container = av.open(self._file, mode="r", **self._how)
        except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise SourceError(f"cannot open {self.name}: {self._why_not(error)}") from error
        found = [s for s in self._container.streams.video if not _is_cover(s)]
        if self._number >= len(found):
            sound = ", only sound" if self._container.streams.audio else ""
            self._container.close()
            if not found:
                raise SourceError(f"{self.name} has no pictures{sound} (no video stream)")
            raise SourceError(f"{self.name} has {len(found)} video streams; #stream= takes 0 to {len(found) - 1}")
        self.streams = len(found)
        self._stream = found[self._number]
        self._stream.thread_type = self._threads

    def _why_not(self, error: Exception) -> str:
        import av

        path = path_of(self.where)
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            return "it is empty"
        if isinstance(error, av.error.InvalidDataError):
            return "it is not a film that FFmpeg can read, or its beginning or its index is missing"
        return reason(error)

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _header_seconds(self) -> float:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration and len(self._container.streams) == 1:
            return float(self._container.duration / 1e6)
        return 0.0

    def _from_the_start(self) -> Iterator[Any]:
        if self._turn:
            self._reopen()
        yield from self._decoded()

    def _sought(self, seconds: float) -> Generator[Any, None, None]:
        """Pictures from the first complete one after a seek; it may be later than `seconds`."""
        import av

        base = float(self._stream.time_base or 0) or 1e-6
        try:
            self._container.seek(round((seconds + self.origin) / base), stream=self._stream, backward=True)
        except (av.error.FFmpegError, OSError):
            return
        whole = False
        for picture in self._decoded():
            # What comes before a key frame was predicted from pictures that were not read.
            whole = whole or bool(picture.key_frame)
            if whole:
                yield picture

    def _decoded(self) -> Iterator[Any]:
        """Every picture of the stream from the container's present position."""
        import av

        self._turn += 1
        turn, count = self._turn, 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    for picture in packet.decode():
                        count += 1
                        self.concealed += bool(picture.is_corrupt)
                        yield picture
                        if turn != self._turn:
                            raise RuntimeError("a film is read by one iteration at a time")
                except av.error.InvalidDataError:
                    self.damaged += 1
                    if not self.skip_damaged:
                        for picture in self._rest():
                            count += 1
                            yield picture
                        raise
        except (av.error.FFmpegError, OSError) as error:
            if self._is_cut_short():
                raise SourceError(f"{self.name} is cut short after {count} frames: its end is missing") from error
            cure = (
                "; --set skip-damaged=true skips the damaged part"
                if isinstance(error, av.error.InvalidDataError)
                else ""
            )
            raise SourceError(f"{self.name} is damaged after {count} frames: {reason(error)}{cure}") from error
        if self._is_cut_short():
            raise SourceError(f"{self.name} is cut short after {count} frames: its end is missing")

    def _rest(self) -> Iterator[Any]:
        """The good pictures that the decoder still holds."""
        import av

        try:
            for picture in self._stream.decode(None):
                # Decoded without a packet, it does not know the unit of its stamp.
                picture.time_base = self._stream.time_base
                yield picture
        except (av.error.FFmpegError, OSError):
            return

    def _is_cut_short(self) -> bool:
        return not isinstance(self.where, str) and is_cut_short(self.where)


AnyFilm = Film | AnimatedPicture


def open_film(where: Where, name: str | None = None, **how: Any) -> AnyFilm:
    """A film by its file; see `Film`. Pictures with several pictures in them are films too."""
    if begins_as_picture(where) and is_animated(where):
        return AnimatedPicture(where, name)
    return Film(where, name, **how)


def reason(error: Exception) -> str:
    """An error in a few words. FFmpeg's own messages end with the address, which may hold a password."""
    return getattr(error, "strerror", None) or one_line(error).split(": '")[0]


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is the picture of a sound file's album."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _input_of(where: Where) -> Any:
    """What PyAV opens. A local path is always a file, even when its name looks like a protocol (`12:30.mp4`)."""
    if isinstance(where, Location):
        where = Path(where.path) if where.length < 0 else where
    if isinstance(where, Location):
        return where.open()
    if isinstance(where, Path):
        return file_url(where)
    return where


def file_url(path: Path, mode: str = "rb") -> Any:
    """A local path for FFmpeg, which would read the part before a colon as a protocol.

    A file object, opened with `mode`, where its name is not text.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return open(path, mode)
    return f"file:{text}" if re.match(r"[\w+.-]*:|[\w+.-]*,", text) or not os.path.isabs(text) else text
