"""The part of a frame that is computed, and its scale: a region that follows the objects within a budget of cells.

One region holds all objects, so that the cost does not grow with their number. Its scale is the finest at which the objects
and a margin fit the budget; where they are spread too wide, it is the whole frame at a scale that fits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.runtime.propagation.components import components
from crwedge.runtime.propagation.view import Size, View

Box = NDArray[np.float64]
"""(4,) y0, x0, y1, x1 as shares of the frame's height and width."""

_STEPS = 4
"""Steps of the scale in each factor of two."""
_ROOM = 1.35
"""A finer scale is taken only where this many times its cells fit the budget, so that the scale does not oscillate."""
_FILL, _WIDEST = 0.85, 8
"""Where there is room, the margin is widened: up to so much of the budget, and so many cells."""
_FEWEST = 64
"""Cells of the smallest budget."""
_SPECK = 0.1
"""A connected part of an object that is smaller than this share of its largest one is a speck, and the region ignores it."""
_SMOOTH = 0.5
"""Weight of the last motion in the expected one."""


class Region:
    """The region of one stream.

    Args:
        cells: the most cells that are computed for a frame.
        margin: cells around the objects, at the scale that is computed.
        size: (H, W) of the frames at full scale.
    """

    def __init__(self, cells: int, margin: int, size: Size) -> None:
        self.size, self._full = size, (cells, margin)
        self.set_share(1)
        self._box: Box | None = None
        self._motion = np.zeros(4)

    def set_share(self, share: float) -> None:
        """Use a share of the budget from now on. The margin goes with its square root, as the sides of the region do."""
        cells, margin = self._full
        self.cells = max(min(cells, _FEWEST), round(share * cells))
        self.margin = max(min(margin, 2), round(margin * math.sqrt(share)))
        self._least = 1.0
        """The scale at which the whole frame fits the budget; the region is never computed at a lower one."""
        while np.prod(grid_size(*self._scaled(self._least))) > self.cells:
            self._least *= 0.99
        self._coarsest = math.ceil(-_STEPS * math.log2(self._least) - 1e-9)
        self._level = 0

    @property
    def overview(self) -> View:
        """The whole frame at the finest scale that fits the budget."""
        return View.whole(self.scaled(self._coarsest))

    def scaled(self, level: int) -> Size:
        """(H, W) of the frame at a level of scale; level 0 is its own size."""
        return self._scaled(max(self._least, 2 ** (-level / _STEPS)))

    def _scaled(self, factor: float) -> Size:
        return max(16, round(self.size[0] * factor)), max(16, round(self.size[1] * factor))

    def view(self) -> View:
        """The view of the next frame."""
        if self._box is None:
            return self.overview
        self._level = min(self._level, self._coarsest)
        ahead = self._box + self._motion
        box = np.concatenate([np.minimum(self._box, ahead)[:2], np.maximum(self._box, ahead)[2:]])
        while self._level < self._coarsest and self._around(box, self._level, self.margin).cells > self.cells:
            self._level += 1
        while self._level > 0 and self._around(box, self._level - 1, self.margin).cells * _ROOM <= self.cells:
            self._level -= 1
        view = self._around(box, self._level, self.margin)
        for margin in range(self.margin + 1, _WIDEST + 1):
            wider = self._around(box, self._level, margin)
            if wider.cells > _FILL * self.cells:
                break
            view = wider
        return view

    def follow(self, box: Box | None) -> None:
        """The objects of the last frame were inside `box`; None where there was none: the region stays."""
        if box is None:
            self._motion = np.zeros(4)
            return
        if self._box is not None:
            self._motion = _SMOOTH * self._motion + (1 - _SMOOTH) * (box - self._box)
        self._box = box

    def jump(self, box: Box | None) -> None:
        """The objects are somewhere else than they were expected: inside `box`, or, with None, anywhere."""
        self._box, self._motion = box, np.zeros(4)

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        box = None if self._box is None else self._box.tolist()
        return {"level": self._level, "box": box, "motion": self._motion.tolist()}

    def restore(self, values: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._level = int(values["level"])
        self._box = None if values["box"] is None else np.array(values["box"])
        self._motion = np.array(values["motion"])

    def _around(self, box: Box, level: int, margin: int) -> View:
        """The cells of a level that hold a box and so many cells around it."""
        size = self.scaled(level)
        full = grid_size(*size)
        low = [max(0, int(np.floor(box[axis] * full[axis] + 1e-9)) - margin) for axis in (0, 1)]
        high = [min(full[axis], int(np.ceil(box[axis + 2] * full[axis] - 1e-9)) + margin) for axis in (0, 1)]
        low = [min(first, full[axis] - 1) for axis, first in enumerate(low)]
        grid = [max(1, last - first) for first, last in zip(low, high, strict=True)]
        return View(size, (low[0], low[1]), (grid[0], grid[1]))


def object_boxes(view: View, winner: NDArray[np.int64], count: int) -> list[Box | None]:
    """The box around each object's cells: those where it leads all others.

    Args:
        view: what the labels cover.
        winner: (h, w) the leading channel of each cell, 0 the background.
        count: K, channels.

    Returns:
        For each object, in order of the channels, the box around its parts that are no specks; None where it has no cell.
    """
    part = np.empty(winner.shape, np.int64)
    parts = components(winner, part)
    found: list[Box | None] = [None] * (count - 1)
    if not parts.shape[0]:
        return found
    channel, size = parts[:, 0], parts[:, 1]
    largest = np.zeros(count, np.int64)
    np.maximum.at(largest, channel, size)
    low, full = np.array(view.origin), np.array(grid_size(*view.size))
    for one in parts[size >= _SPECK * largest[channel]]:
        box = np.concatenate([(one[2:4] + low) / full, (one[4:6] + low) / full])
        found[one[0] - 1] = around_all([found[one[0] - 1], box])
    return found


def box_around(inside: NDArray[np.bool_], origin: Size, full: Size) -> Box:
    """The box around what is inside a part (h, w) of a grid.

    Args:
        inside: at least one element is.
        origin: (y, x) of the part in the grid.
        full: (h, w) of the grid.
    """
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    low, high = np.array([rows[0], columns[0]]), np.array([rows[-1] + 1, columns[-1] + 1])
    return np.concatenate([(low + origin) / full, (high + origin) / full])


def around_all(boxes: list[Box | None]) -> Box | None:
    """The box around all boxes that there are."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    stacked = np.stack(there)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])
