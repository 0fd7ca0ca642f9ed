"""A frame, and what gives frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.described import described


@described
@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    index: int
    """From 0."""
    pts: float | None = None
    """Seconds, where the source has time stamps: those of the file, or of the clock since the first frame of a live one."""
    after_gap: bool = False
    """Whether frames are missing before it, because the source had to be opened again or changed its size."""
    name: str | None = None
    """Name of its file without the suffix, where it has one: what its mask is called."""
    time: float | None = None
    """Arrival time (of a file: the time it was read), in seconds since 1970."""


class FrameSource(Protocol):
    """A context manager that yields frames in order."""

    name: str
    live: bool
    """Whether frames arrive at their own rate, so that late ones may have to be dropped."""
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
        """Close the device or file."""
        ...
