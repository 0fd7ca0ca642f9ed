"""Any frame of a file or folder, by its number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from crwedge.core.errors import SourceError
from crwedge.core.upright import to_rgb
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.sources.images import ImageSource
from crwedge.runtime.sources.video import VideoSource

_KEPT = 16
"""Frames in memory."""
_NEAR = 12
"""A film is read on to a frame that is at most so far ahead; for others it is sought."""


class RandomAccess(Closing):
    """The frames of a file or folder by number, from any thread.

    Args:
        source: a folder, glob, picture or video file; closed with this one.

    Raises:
        SourceError: the source is live, or its frames cannot be found by number.
    """

    def __init__(self, source: FrameSource) -> None:
        if source.live or not (isinstance(source, ImageSource) or getattr(source, "path", None) is not None):
            raise SourceError(f"{source.name} cannot give frames by number; save it as a file first")
        self.name, self.fps = source.name, source.fps
        self._source, self._lock = source, threading.RLock()
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._film: Any = None
        self._times: list[float] = []
        self._reading: Iterator[tuple[int, Frame]] | None = None
        self._next = -1
        if isinstance(source, VideoSource):
            self._film = source.reopened()
            self._times = self._film.stamps()
            if not self._times:
                raise SourceError(f"{self.name} has no time stamps: convert it to mp4 first")
            self.length = len(self._times)
        else:
            assert isinstance(source, ImageSource)
            self.length = len(source.paths)

    def frame(self, number: int) -> Frame:
        """Frame `number`, from 0.

        Raises:
            SourceError: there is none, or it cannot be read.
        """
        if not 0 <= number < self.length:
            raise SourceError(f"there is no frame {number}; {self.name} has {self.length}, from 0 to {self.length - 1}")
        with self._lock:
            if (frame := self._kept.get(number)) is None:
                frame = self._read(number)
            self._keep(frame)
            return frame

    def name_of(self, number: int) -> str:
        """What the mask of a frame is called: as its file, where each has its own, else by the number."""
        name = self._source.name_of(number) if isinstance(self._source, ImageSource) else None
        return f"{number:05d}" if name is None else name

    def close(self) -> None:
        """Close the source."""
        with self._lock:
            self._reading = None
            if self._film is not None:
                self._film.close()
            self._source.close()

    def _keep(self, frame: Frame) -> None:
        self._kept[frame.index] = frame
        self._kept.move_to_end(frame.index)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _read(self, number: int) -> Frame:
        if isinstance(self._source, ImageSource):
            return next(self._source.frames(range(number, number + 1)))
        if self._reading is None or not self._next <= number <= self._next + _NEAR:
            self._reading = self._from(number)
        for at, frame in self._reading:
            self._next = at + 1
            if at >= number:
                return frame
            self._keep(frame)
        self._reading = None
        raise SourceError(f"{self.name} has no readable frame {number}")

    def _from(self, number: int) -> Iterator[tuple[int, Frame]]:
        """The frames from `number` on; those before it are decoded and skipped."""
        times, at = self._times, None
        for seconds, picture in self._film.timed(times[number]):
            if at is None:
                at = min(range(len(times)), key=lambda n: abs(times[n] - seconds))
            if at >= number:
                yield at, Frame(to_rgb(picture), at, times[min(at, len(times) - 1)] + self._film.origin)
            at += 1
