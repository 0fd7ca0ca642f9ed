"""A recorded film as if it came from a camera: at its own rate, over and over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.sources.random_access import RandomAccess


class PacedSource(Closing):
    """Plays a film at its own rate, and with `loop` over and over.

    Args:
        frames: the film; closed with this source.
        fps: frames a second; by default those of the film, else 25.
        loop: whether it starts again at its end; the first frame of each round is marked as after a gap.
    """

    live = True
    length: int | None = None

    def __init__(self, frames: RandomAccess, fps: float | None = None, loop: bool = True) -> None:
        self.name = frames.name
        self.fps: float | None = fps or frames.fps or 25.0
        self._frames, self._loop = frames, loop
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yield each frame at its time; a delay is not made up for."""
        assert self.fps is not None
        begin, count = time.monotonic(), 0
        while not self._ended.is_set() and (self._loop or count < self._frames.length):
            due = begin + count / self.fps
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            frame = self._frames.frame(count % self._frames.length)
            cut = count > 0 and frame.index == 0
            yield replace(frame, index=count, pts=count / self.fps, after_gap=cut, name=None, time=time.time())
            count += 1

    def interrupt(self) -> None:
        """End the iteration soon, from another thread."""
        self._ended.set()

    def close(self) -> None:
        """Close the film."""
        self._ended.set()
        self._frames.close()
