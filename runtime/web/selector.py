"""Click to select: a region grows from clicks by the similarity of the encoder's features."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import MaskError
from crwedge.core.images import resize_frame
from crwedge.core.labels import resize_linear
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.propagation.components import components
from crwedge.runtime.web.growing import Array, Cell, along_edges, describe, first_region, refined

_LONGEST = 512
"""Pixels of the longer side of what is encoded."""
_LARGER = 3.0
"""How much a part of a frame is enlarged at most."""
_MARGIN = 0.3
"""Room around the first region, as share of its sides."""


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
        self._last: tuple[NDArray[np.uint8], Array] | None = None

    def select(self, image: NDArray[np.uint8], clicks: Sequence[Click], tolerance: float = 0.5) -> NDArray[np.bool_]:
        """The region (H, W) of an RGB frame (H, W, 3) that the clicks mean.

        Raises:
            MaskError: no click is positive.
        """
        if not any(click.positive for click in clicks):
            raise MaskError("click on the object first; negative clicks come after a positive one")
        height, width = image.shape[:2]
        clicks = [Click(min(max(c.x, 0), width - 1), min(max(c.y, 0), height - 1), c.positive) for c in clicks]
        with self._lock:
            if self._last is None or self._last[0] is not image:
                self._last = image, self._describe(image)
            cells = self._last[1]
            first = first_region(cells, _places(clicks, cells.shape, (height, width)), tolerance)
            guess = resize_linear(first[None].astype(np.float32), (height, width))[0]
            rows, columns = _window(guess > 0.5, clicks)
            part = np.ascontiguousarray(image[rows, columns])
            inside = [Click(c.x - columns.start, c.y - rows.start, c.positive) for c in clicks]
            found = np.zeros((height, width), np.bool_)
            found[rows, columns] = self._refine(part, guess[rows, columns], inside, (rows, columns), (height, width))
        return _connected(found, clicks)

    def close(self) -> None:
        """Close the encoder."""
        with self._lock:
            self._last = None
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def _describe(self, image: NDArray[np.uint8]) -> Array:
        """Descriptors of a picture's cells, at a size that is encoded soon."""
        if self._engine is None:
            self._engine = open_engine(self._bundle, "cpu", 1)
        size = self._bundle.manifest.size
        if size is None:
            scale = min(_LONGEST / max(image.shape[:2]), _LARGER)
            size = max(16, round(image.shape[0] * scale)), max(16, round(image.shape[1] * scale))
        scaled = np.ascontiguousarray(resize_frame(image, size))
        return describe(self._engine.run(scaled), scaled)

    def _refine(
        self,
        part: NDArray[np.uint8],
        guess: Array,
        clicks: Sequence[Click],
        window: tuple[slice, slice],
        size: tuple[int, int],
    ) -> NDArray[np.bool_]:
        """The region (H', W') in a part of the frame, from a closer look at it."""
        cells = self._describe(part)
        grid = cells.shape[1], cells.shape[2]
        small = resize_linear(guess[None], grid)[0]
        # The edge of the part is outside, where it is not the edge of the frame.
        outside = np.zeros(grid, np.bool_)
        outside[0, :], outside[-1, :] = window[0].start > 0, window[0].stop < size[0]
        outside[:, 0] |= window[1].start > 0
        outside[:, -1] |= window[1].stop < size[1]
        certain = refined(cells, small, _places(clicks, cells.shape, part.shape), outside)
        scale = min(1.0, 640 / max(part.shape[:2]))
        shown = resize_frame(part, (max(1, round(part.shape[0] * scale)), max(1, round(part.shape[1] * scale))))
        radius = max(2, round(max(shown.shape[0] / grid[0], shown.shape[1] / grid[1])))
        certain = along_edges(resize_linear(certain[None], shown.shape[:2])[0], shown, radius)
        return np.asarray(resize_linear(certain[None], part.shape[:2])[0] > 0.5, np.bool_)


def _places(clicks: Sequence[Click], shape: tuple[int, ...], size: tuple[int, ...]) -> list[tuple[Cell, bool]]:
    """Cells of the clicks, and whether each is positive."""
    found: list[tuple[Cell, bool]] = []
    for click in clicks:
        y = min(shape[1] - 1, int((click.y + 0.5) * shape[1] / size[0]))
        x = min(shape[2] - 1, int((click.x + 0.5) * shape[2] / size[1]))
        found.append(((y, x), click.positive))
    return found


def _window(inside: NDArray[np.bool_], clicks: Sequence[Click]) -> tuple[slice, slice]:
    """Rows and columns around a region and the clicks."""
    ys, xs = np.nonzero(inside)
    found = []
    for places, clicked, side in (
        (ys, [c.y for c in clicks], inside.shape[0]),
        (xs, [c.x for c in clicks], inside.shape[1]),
    ):
        low, high = int(min(clicked)), int(max(clicked)) + 1
        if places.size:
            low, high = min(low, int(places.min())), max(high, int(places.max()) + 1)
        margin = round(_MARGIN * (high - low)) + 16
        found.append(slice(max(0, low - margin), min(side, high + margin)))
    return found[0], found[1]


def _connected(inside: NDArray[np.bool_], clicks: Sequence[Click]) -> NDArray[np.bool_]:
    """The parts of a region (H, W) that positive clicks lie in; all parts where they lie in none."""
    part = np.empty(inside.shape, np.int64)
    components(inside.astype(np.int64), part)
    wanted = {int(part[int(c.y), int(c.x)]) for c in clicks if c.positive} - {0}
    return np.asarray(np.isin(part, list(wanted)), np.bool_) if wanted else inside
