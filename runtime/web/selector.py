"""Click to select: a region grows from clicks by the similarity of the encoder's features."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.labels import resize_linear
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.propagation import kernels


@dataclass(frozen=True)
class Click:
    """A place of a frame, in pixels."""

    x: float
    y: float
    positive: bool = True


class Selector:
    """Selects what is clicked on. The encoder is opened with the first click, on one thread, beside that of the tracker.

    Args:
        bundle: the encoder.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def select(self, image: NDArray[np.uint8], clicks: Sequence[Click], tolerance: float = 0.5) -> NDArray[np.bool_]:
        """The region (H, W) of an RGB frame (H, W, 3) that the clicks mean."""
        with self._lock:
            if self._engine is None:
                self._engine = open_engine(self._bundle, "cpu", 1)
            features = self._engine.run(image)
        height, width = image.shape[:2]
        grid = features.shape[1:]
        places = [
            (min(int(c.y * grid[0] / height), grid[0] - 1), min(int(c.x * grid[1] / width), grid[1] - 1))
            for c in clicks
        ]
        good = [features[:, y, x] for (y, x), c in zip(places, clicks, strict=True) if c.positive]
        bad = [features[:, y, x] for (y, x), c in zip(places, clicks, strict=True) if not c.positive]
        like = np.max([np.tensordot(f, features, 1) for f in good], axis=0)
        unlike = np.max([np.tensordot(f, features, 1) for f in bad], axis=0) if bad else np.full(grid, -1.0)
        score = np.minimum(like - (1 - tolerance), like - unlike).astype(np.float32)
        inside = resize_linear(score[None], (height, width))[0] > 0
        part = np.empty(inside.shape, np.int64)
        kernels.components(inside, part)
        wanted = {int(part[int(c.y), int(c.x)]) for c in clicks if c.positive} - {0}
        return np.asarray(np.isin(part, list(wanted)), np.bool_)

    def close(self) -> None:
        """Close the encoder."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
