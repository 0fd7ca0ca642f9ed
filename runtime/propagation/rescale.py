"""Bring features and labels of a view to another scale of the frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.labels import Taps
from crwedge.runtime.propagation.label_grid import label_rows, unpacked
from crwedge.runtime.propagation.view import Size, View


def rescaled(view: View, size: Size) -> View:
    """The cells of a frame scaled to `size` = (H, W) that cover a view."""
    old, new = grid_size(*view.size), grid_size(*size)
    origin, grid = [], []
    for first, cells, before, after in zip(view.origin, view.grid, old, new, strict=True):
        low = math.floor(first * after / before + 1e-9)
        high = min(after, math.ceil((first + cells) * after / before - 1e-9))
        origin.append(low)
        grid.append(high - low)
    return View(size, (origin[0], origin[1]), (grid[0], grid[1]))


def overlap(one: View, other: View) -> View:
    """The cells that lie in both of two views of the same scale, which have some in common."""
    low = [max(a, b) for a, b in zip(one.origin, other.origin, strict=True)]
    ends = zip(one.origin, one.grid, other.origin, other.grid, strict=True)
    high = [min(a + n, b + m) for a, n, b, m in ends]
    return View(one.size, (low[0], low[1]), (high[0] - low[0], high[1] - low[1]))


def trimmed(view: View, cells: int, around: View) -> View:
    """The part of a view with no more than `cells` cells that is nearest to another view, `around`, of the same scale."""
    low, grid = list(view.origin), list(view.grid)
    while grid[0] * grid[1] > cells:
        # The side that reaches out furthest loses a row or a column.
        axes = [axis for axis in (0, 1) if grid[axis] > 1]
        before = {axis: around.origin[axis] - low[axis] for axis in axes}
        after = {axis: low[axis] + grid[axis] - around.origin[axis] - around.grid[axis] for axis in axes}
        axis = max(axes, key=lambda axis: max(before[axis], after[axis]))
        low[axis] += before[axis] > after[axis]
        grid[axis] -= 1
    return View(view.size, (low[0], low[1]), (grid[0], grid[1]))


def kept_part(first: View, now: View | None, around: View, cells: int) -> View:
    """The cells of a context frame at the scale of `around`, the view of the next frame.

    Args:
        first: what was first computed of the frame.
        now: what its features cover; None where they are computed anew.
        around: the part that is nearest to it is kept.
        cells: at most so many.
    """
    covered = rescaled(first, around.size)
    if now is not None:
        covered = overlap(covered, rescaled(now, around.size))
    return trimmed(covered, cells, around)


def resample_labels(labels: NDArray[np.float32], old: View, new: View, s: int = 1) -> NDArray[np.float32]:
    """Soft labels (h * w, K * s * s) of one view, linearly, in the cells of another: (h' * w', K * s * s).

    Parts of cells whose centre lies outside the old view are background.
    """
    fine = unpacked(labels.T.reshape(-1, *old.grid), s)
    found, inside = _resample(fine.reshape(len(fine), -1).T, old.finer(s), new.finer(s))
    background = np.zeros(len(fine), np.float32)
    background[0] = 1
    found = np.where(inside[:, None], found, background)
    return label_rows(found.T.reshape(len(fine), *new.finer(s).grid), s)


def resample_features(features: NDArray[np.float32], old: View, new: View) -> NDArray[np.float32]:
    """Features (h * w, C) of one view, linearly, in the cells of another: (h' * w', C), unit length over C."""
    found, _ = _resample(features, old, new)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)


def _resample(values: NDArray[np.float32], old: View, new: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    (y0, y1, fy), in_y = _taps(old, new, 0)
    (x0, x1, fx), in_x = _taps(old, new, 1)
    maps = values.reshape(*old.grid, -1)
    one = np.float32(1)
    rows = maps[y0] * (one - fy)[:, None, None] + maps[y1] * fy[:, None, None]
    found = rows[:, x0] * (one - fx)[:, None] + rows[:, x1] * fx[:, None]
    return found.reshape(new.cells, -1), np.logical_and.outer(in_y, in_x).reshape(-1)


def _taps(old: View, new: View, axis: int) -> tuple[Taps, NDArray[np.bool_]]:
    """Where the centres of the new view's cells fall among those of the old one, and which of them lie inside it."""
    before, after = grid_size(*old.size)[axis], grid_size(*new.size)[axis]
    centres = (new.origin[axis] + np.arange(new.grid[axis]) + 0.5) * before / after - 0.5 - old.origin[axis]
    last = old.grid[axis] - 1
    position = np.clip(centres, 0, last)
    low = np.floor(position).astype(np.int64)
    inside = (centres >= -0.5) & (centres <= last + 0.5)
    return (low, np.minimum(low + 1, last), (position - low).astype(np.float32)), inside
