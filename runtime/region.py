"""Which part of a frame is computed, and at which scale: a region that follows the objects within a budget of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.runtime.propagation.view import Size, View

Box = NDArray[np.float64]
"""(4,) y0, x0, y1, x1 as shares of the frame's sides."""


@dataclass(frozen=True)
class RegionOptions:
    """How the region follows."""

    cells: int = 1600
    """The most cells that are computed for a frame."""
    margin: int = 6
    """Cells around the objects."""
    steps: int = 4
    """Steps of the scale in each factor of two."""
    room: float = 1.15
    """A finer scale is taken only where this many times its cells fit the budget."""


class Region:
    """The region of one stream.

    Args:
        options: see `RegionOptions`.
        size: (H, W) of the frames at full scale.
    """

    def __init__(self, options: RegionOptions, size: Size) -> None:
        self.options, self.size = options, size
        self._coarsest = 0
        while np.prod(grid_size(*self.scaled(self._coarsest))) > options.cells:
            self._coarsest += 1
        self._level = 0
        self._box: Box | None = None
        self._velocity = np.zeros(4)

    def scaled(self, level: int) -> Size:
        """(H, W) of the frame at a level of scale; level 0 is its own size."""
        factor = 2 ** (-level / self.options.steps)
        return max(16, round(self.size[0] * factor)), max(16, round(self.size[1] * factor))

    def view(self) -> View:
        """The view of the next frame."""
        if self._box is None:
            return View.whole(self.scaled(self._coarsest))
        ahead = self._box + self._velocity
        box = np.concatenate([np.minimum(self._box, ahead)[:2], np.maximum(self._box, ahead)[2:]])
        while self._level < self._coarsest and self._around(box, self._level).cells > self.options.cells:
            self._level += 1
        while self._level > 0 and self._around(box, self._level - 1).cells * self.options.room <= self.options.cells:
            self._level -= 1
        return self._around(box, self._level)

    def observe(self, view: View, soft: NDArray[np.float32]) -> None:
        """Take note of where the objects are.

        Args:
            view: what was computed.
            soft: (K, h, w) soft labels.
        """
        box = object_box(view, soft)
        if box is None:
            self._velocity[:] = 0
            return
        if self._box is not None:
            self._velocity = 0.5 * self._velocity + 0.5 * (box - self._box)
        self._box = box

    def _around(self, box: Box, level: int) -> View:
        """The cells of a level that hold a box and its margin."""
        size = self.scaled(level)
        full = grid_size(*size)
        if level >= self._coarsest:
            return View.whole(size)
        margin = self.options.margin
        low = [max(0, int(np.floor(box[a] * full[a] + 1e-9)) - margin) for a in (0, 1)]
        high = [min(full[a], int(np.ceil(box[a + 2] * full[a] - 1e-9)) + margin) for a in (0, 1)]
        return View(size, (low[0], low[1]), (high[0] - low[0], high[1] - low[1]))


def object_box(view: View, soft: NDArray[np.float32]) -> Box | None:
    """The box around all cells that are rather object than background; None where there is none."""
    inside = soft[0] < 0.5
    if not inside.any():
        return None
    full = grid_size(*view.size)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    low = np.array([view.origin[0] + rows[0], view.origin[1] + columns[0]]) / full
    high = np.array([view.origin[0] + rows[-1] + 1, view.origin[1] + columns[-1] + 1]) / full
    return np.concatenate([low, high])
