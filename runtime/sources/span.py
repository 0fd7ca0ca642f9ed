"""A part of a source: from one frame on, or backwards from it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from crwedge.core.errors import SourceError
from crwedge.core.upright import to_rgb
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.sources.images import ImageSource
from crwedge.runtime.sources.video import VideoSource

_BLOCK = 32
"""Decoded pictures that a film read backwards holds at once."""


class SpanSource(Closing):
    """The frames of a file or folder from number `start` on; backwards, from `start` down to 0.

    Frames keep their numbers and time stamps. A film is read backwards in blocks of 32 pictures, each decoded from the key
    frame before it: the memory is bounded, the time is that of a few passes.

    Args:
        source: what is read; closed with this one.
        start: number of the first frame, from 0. None is the first frame, or backwards the last.
        reverse: go backwards.

    Raises:
        SourceError: the source is live, or cannot be read backwards.
    """

    live = False

    def __init__(self, source: FrameSource, start: int | None = None, reverse: bool = False) -> None:
        if source.live:
            raise SourceError(
                f"{source.name} is live: it has no frame {start or 0} to start from and cannot go backwards"
            )
        if reverse and not isinstance(source, ImageSource) and getattr(source, "path", None) is None:
            raise SourceError(f"{source.name} cannot be read backwards; save it as a file first")
        self.source, self.start, self.reverse = source, start, reverse
        self.name, self.fps = source.name, source.fps
        whole = source.length
        if whole is not None:
            whole = max(0, whole - (start or 0)) if not reverse else whole if start is None else min(whole, start + 1)
        self.length: int | None = whole
        """Number of frames, where known."""
        self.path = getattr(source, "path", None)
        self.paths = getattr(source, "paths", [])
        self.pixel_aspect = getattr(source, "pixel_aspect", None)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded and were skipped."""
        return getattr(self.source, "damaged", 0)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            SourceError: there is no frame `start`.
        """
        if isinstance(self.source, ImageSource):
            frames = self._of_pictures(self.source)
        elif self.reverse:
            assert isinstance(self.source, VideoSource)
            frames = self._of_film(self.source)
        else:
            frames = self._from_start()
        for frame in frames:
            # Masks are called by the number of the frame in the whole source.
            yield frame if frame.name is not None else replace(frame, name=f"{frame.index:05d}")

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def _absent(self, length: int) -> SourceError:
        return SourceError(f"{self.name} has no frame {self.start}; it has {length} frames, from 0 to {length - 1}")

    def _of_pictures(self, source: ImageSource) -> Iterator[Frame]:
        count = len(source.paths)
        if self.start is not None and self.start >= count:
            raise self._absent(count)
        if self.reverse:
            return source.frames(range(count - 1 if self.start is None else self.start, -1, -1))
        return source.frames(range(self.start or 0, count))

    def _from_start(self) -> Iterator[Frame]:
        seen = -1
        for frame in self.source:
            seen = frame.index
            if frame.index >= (self.start or 0):
                yield frame
        if seen < (self.start or 0):
            raise self._absent(seen + 1)

    def _of_film(self, source: VideoSource) -> Iterator[Frame]:
        assert source.path is not None
        with source.reopened() as film:
            times = film.stamps()
            if not times:
                raise SourceError(
                    f"{self.name} has no time stamps: it cannot be read backwards; convert it to mp4 first"
                )
            if self.start is not None and self.start >= len(times):
                raise self._absent(len(times))
            last = len(times) - 1 if self.start is None else self.start
            for stop in range(last + 1, 0, -_BLOCK):
                numbers = range(max(0, stop - _BLOCK), stop)
                found: dict[int, Frame] = {}
                number = None
                for seconds, picture in film.timed(times[numbers[0]]):
                    if number is None:
                        number = min(range(len(times)), key=lambda n: abs(times[n] - seconds))
                    if number in numbers:
                        found[number] = Frame(to_rgb(picture), number, times[number] + film.origin, time=time.time())
                    number += 1
                    if number >= stop:
                        break
                yield from (found[n] for n in reversed(numbers) if n in found)
