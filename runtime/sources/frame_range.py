"""A part of a source: skips frames at its start, ends after a number of frames, goes on after an earlier run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame, FrameSource


class FrameRange(Closing):
    """Frames `start` to `start + count` of a source, with the numbers that the source gives them.

    Args:
        source: the frames; closing the range closes it.
        start: how many frames to skip.
        count: how many frames to give at most; None for all.
        resume_pts: of a live source that goes on after an earlier run, the time stamp of a frame that comes now. Later stamps
            are shifted with the first one, which is marked as after a gap.
        after_gap: whether frames are missing before the first one.
    """

    def __init__(
        self,
        source: FrameSource,
        start: int = 0,
        count: int | None = None,
        resume_pts: float | None = None,
        after_gap: bool = False,
    ) -> None:
        self.name, self.live, self.fps = source.name, source.live, source.fps
        self.length = None if source.length is None else max(0, source.length - start)
        if count is not None:
            self.length = count if self.length is None else min(count, self.length)
        self._source, self._start, self._count = source, start, count
        self._resume_pts, self._gap = resume_pts, after_gap
        self._interrupted = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        frames = iter(self._source)
        for _ in range(self._start):
            if self._interrupted or next(frames, None) is None:
                return
        shift: float | None = None
        given = 0
        while self._count is None or given < self._count:
            frame = next(frames, None)
            if frame is None:
                return
            if shift is None and frame.pts is not None:
                shift = 0.0 if self._resume_pts is None else self._resume_pts - frame.pts
            pts = frame.pts + shift if frame.pts is not None and shift else frame.pts
            yield replace(frame, pts=pts, after_gap=frame.after_gap or (self._gap and given == 0))
            given += 1

    def interrupt(self) -> None:
        """End the iteration soon, from another thread; ends a source that waits, where it can be."""
        self._interrupted = True
        if (interrupt := getattr(self._source, "interrupt", None)) is not None:
            interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
