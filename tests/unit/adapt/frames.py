"""A source of frames that lie in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame


class FrameList(Closing):
    """Frames (H, W, 3) one after the other; after the last an error, where there is one."""

    def __init__(self, frames: list[NDArray[np.uint8]], error: Exception | None = None) -> None:
        self.frames, self.error, self.closed = frames, error, False
        self.name, self.live = "frames", False
        self.fps: float | None = None
        self.length: int | None = len(frames)

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.frames):
            yield Frame(frame, index)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True
