"""Frames from a program: arrays, lists of pictures, generators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.sources.pixels import pixels_of

Frames = str | Path | NDArray[np.uint8] | Iterable[Any]
"""Whatever `as_source` takes."""


class ArraySource(Closing):
    """Frames from a program, in the order in which they come.

    Args:
        frames: RGB uint8 (T, H, W, 3), one frame (H, W, 3), or any iterable of frames; each is RGB uint8 (H, W, 3), a
            `Frame`, a Pillow image or the path of a picture. Channels are red, green, blue: an array of OpenCV is
            `array[..., ::-1]`.
        fps: frames a second, where known; frame i is then stamped i / fps.
        name: what messages call them.
    """

    live = False

    def __init__(self, frames: Iterable[Any], fps: float | None = None, name: str = "frames") -> None:
        if isinstance(frames, np.ndarray) and frames.ndim == 3:
            frames = frames[None]
        if isinstance(frames, np.ndarray) and frames.ndim != 4:
            raise SourceError(f"an array of frames must be uint8 (T, H, W, 3), not {frames.dtype} {frames.shape}")
        self.name, self.fps = name, fps
        self.length: int | None = len(frames) if isinstance(frames, Sized) else None
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame; SourceError for one that is of another kind."""
        for index, item in enumerate(self._frames):
            if isinstance(item, Frame):
                yield item
            else:
                pts = None if self.fps is None else index / self.fps
                yield Frame(
                    _pixels(item, index), index, pts, name=Path(item).stem if isinstance(item, str | Path) else None
                )

    def close(self) -> None:
        """End a generator."""
        if hasattr(self._frames, "close"):
            self._frames.close()


def as_source(frames: Frames) -> FrameSource:
    """A source from whatever a person has: see `open_source` for names and paths, `ArraySource` for the rest."""
    return open_source(frames) if isinstance(frames, str | Path) else ArraySource(frames)


def _pixels(item: Any, index: int) -> NDArray[np.uint8]:
    try:
        return pixels_of(item)
    except SourceError as error:
        raise SourceError(f"frame {index}: {error}") from error
