"""Where the delay of `lookahead` lives: a source that runs m frames ahead of the tracker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame, FrameSource


class LookaheadSource(Closing):
    """The same frames, each given out only once the m after it were seen, or the source has ended.

    Args:
        source: the frames.
        m: how far to look ahead.
        see: called with each frame, RGB uint8 (H, W, 3), and its index when it arrives, before a delayed frame is yielded.
    """

    def __init__(self, source: FrameSource, m: int, see: Callable[[NDArray[np.uint8], int], None]) -> None:
        """Nothing is read yet."""
        self._source, self._m, self._see = source, m, see
        self.name, self.live, self.fps, self.length = source.name, source.live, source.fps, source.length

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, m late. An error of the source comes after the frames that were read before it."""
        waiting: deque[Frame] = deque()
        frames = iter(self._source)
        try:
            for frame in frames:
                self._see(frame.image, frame.index)
                waiting.append(frame)
                if len(waiting) > self._m:
                    yield waiting.popleft()
        except GeneratorExit:
            waiting.clear()
            raise
        except Exception:
            yield from waiting
            raise
        yield from waiting

    def interrupt(self) -> None:
        """End the iteration soon, from another thread; ends a source that waits, where it can be."""
        if (interrupt := getattr(self._source, "interrupt", None)) is not None:
            interrupt()

    def close(self) -> None:
        """Close the device or file."""
        self._source.close()
