"""Growing a region from clicks: on the cells of the encoder, then on pixels. Pure functions on arrays.

Cells are described by the encoder's features and by their colours. A first region is what can be reached from the clicks along
paths of similar cells, cut where its outline has the most contrast. A second look at a part of the frame learns which cells
are like the region and which like its surroundings, and smooths that along similar neighbours (a random walk with restarts).
Edges of the picture say where the outline runs between cells (a guided filter).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import STRIDE
from crwedge.core.labels import resize_linear

Array = NDArray[np.float32]
Cell = tuple[int, int]
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
_COLOUR = 1.5
"""Weight of the colours beside the features."""
_LEAST = 5
"""Cells of the smallest part that a later click adds or removes."""
_LEAST_SHARE = 0.01
"""Share of the cells of the smallest region of a first click: the contrast of a short outline is chance."""
_WITHIN = 0.5
"""Weight of the unlikeness within a region against that across its outline."""
_MOST = 0.6
"""Share of the cells of the largest region that is looked for."""
_CUTS = 80
"""Regions that are compared."""
_TEMPERATURE = 0.08
"""Of the likeness of two cells."""
_RESTART = 0.3
"""Weight of what a cell itself looks like, against its neighbours."""
_WALK = 120
"""Steps of the smoothing."""
_SKIP = 2
"""Pixels from one to the next from which edges are learnt."""


def describe(features: Array, picture: NDArray[np.uint8]) -> Array:
    """Descriptors (D, h, w) of unit length: centred features (C, h, w), and mean and deviation of each cell's colours.

    Args:
        features: of the picture.
        picture: RGB (H, W, 3) that was encoded.
    """
    _, h, w = features.shape
    spare = (h * STRIDE - picture.shape[0], w * STRIDE - picture.shape[1])
    padded = np.pad(picture, ((0, spare[0]), (0, spare[1]), (0, 0)), mode="edge").astype(np.float32)
    blocks = padded.reshape(h, STRIDE, w, STRIDE, 3)
    colours = np.concatenate([blocks.mean((1, 3)), blocks.std((1, 3))], axis=-1).transpose(2, 0, 1)
    colours -= colours.mean((1, 2), keepdims=True)
    colours /= colours.std((1, 2), keepdims=True) + 0.25
    centred = features - features.mean((1, 2), keepdims=True)
    centred /= np.linalg.norm(centred, axis=0) + 1e-6
    found = np.concatenate([centred, _COLOUR / np.sqrt(24) * colours])
    return np.asarray(found / np.linalg.norm(found, axis=0), np.float32)


def path_lengths(cells: Array, starts: Iterable[Cell]) -> Array:
    """(h, w) length of the shortest path from any start, where a step costs the unlikeness of its two cells (D, h, w)."""
    _, h, w = cells.shape
    costs: dict[Cell, Array] = {}
    for step, (here, there) in _pairs(h, w):
        costs[step] = (1 - _likeness(cells, here, there)) * np.float32(np.hypot(*step))
    # From each cell in each of eight directions.
    around = {step: np.full((h, w), np.inf, np.float32) for step in costs}
    around |= {(-y, -x): np.full((h, w), np.inf, np.float32) for y, x in costs}
    for step, (here, there) in _pairs(h, w):
        around[step][here] = costs[step]
        around[-step[0], -step[1]][there] = costs[step]
    lists = [(y, x, cost.tolist()) for (y, x), cost in around.items()]
    length = [[float("inf")] * w for _ in range(h)]
    waiting = [(0.0, y, x) for y, x in starts]
    for _, y, x in waiting:
        length[y][x] = 0.0
    while waiting:
        so_far, y, x = heapq.heappop(waiting)
        if so_far > length[y][x]:
            continue
        for dy, dx, cost in lists:
            total = so_far + cost[y][x]
            if total < float("inf") and total < length[y + dy][x + dx]:
                length[y + dy][x + dx] = total
                heapq.heappush(waiting, (total, y + dy, x + dx))
    return np.asarray(length, np.float32)


def first_region(cells: Array, clicks: Sequence[tuple[Cell, bool]], tolerance: float) -> NDArray[np.bool_]:
    """(h, w) what clicks mean: the first positive one begins the region, each other one changes it where it is wrong.

    Args:
        cells: (D, h, w) descriptors.
        clicks: cells in the order in which they were clicked on, and whether each is inside; at least one is.
        tolerance: 0 to 1; 0.5 takes the outline with the most contrast, less a smaller region, more a larger one.
    """
    start = next(cell for cell, inside in clicks if inside)
    region = _around(cells, [start], [], tolerance)
    for number, (cell, inside) in enumerate(clicks):
        if region[cell] != inside:
            # What was clicked on before keeps its side.
            others = [other for other, side in [*clicks[:number], (start, True)] if side != inside]
            # A small first region says little about the size of the object.
            most = max(3 * int(region.sum()), region.size // 20) if inside else int(region.sum()) // 2
            part = _around(cells, [cell], others, tolerance, most)
            region = region | part if inside else region & ~part
    return region


def _around(
    cells: Array, starts: Sequence[Cell], others: Sequence[Cell], tolerance: float, most: int | None = None
) -> NDArray[np.bool_]:
    """(h, w) what can be reached from `starts` sooner than from `others`, cut where its outline has the most contrast."""
    length = path_lengths(cells, starts)
    free = length < path_lengths(cells, others) if others else np.ones(length.shape, np.bool_)
    for start in starts:
        free[start] = True
    reached = np.sort(length[free])
    least = max(_LEAST, round(_LEAST_SHARE * length.size)) if most is None else _LEAST
    largest = max(least + 1, _MOST * reached.size if most is None else min(most, reached.size))
    sizes = np.unique(np.geomspace(least, largest, _CUTS).astype(int))
    cuts = [reached[min(size, reached.size) - 1] for size in sizes]
    unlike = _unlikeness(cells)
    best = int(np.argmax([_contrast(unlike, (length <= cut) & free) for cut in cuts]))
    size = float(sizes[best]) * 8.0 ** (2 * tolerance - 1)
    cut = reached[min(max(1, round(size)), reached.size) - 1]
    return np.asarray((length <= cut) & free, np.bool_)


def refined(cells: Array, region: Array, clicks: Sequence[tuple[Cell, bool]], outside: NDArray[np.bool_]) -> Array:
    """(h, w) how certainly each cell belongs to the region, 0 to 1.

    Args:
        cells: (D, h, w) descriptors.
        region: (h, w) a first guess, 0 to 1.
        clicks: cells, and whether each is inside.
        outside: (h, w) cells that are certainly outside.
    """
    _, h, w = cells.shape
    fixed, value = outside.copy(), np.zeros((h, w), np.float32)
    clicked = np.zeros((2, h, w), np.float32)
    for cell, inside in clicks:
        fixed[cell], value[cell] = True, float(inside)
        clicked[int(not inside)][cell] = 4
    weights = _weights(cells)
    certain = np.where(fixed, value, region).astype(np.float32)
    flat = cells.reshape(cells.shape[0], -1)
    alike = flat.T @ flat
    alike -= 1
    alike /= _TEMPERATURE
    np.exp(alike, out=alike)
    for _ in range(2):
        within = np.where(certain > 0.5, certain, 0) + clicked[0]
        beyond = np.where(certain <= 0.5, 1 - certain, 0) + clicked[1]
        sides = np.stack([within.reshape(-1), beyond.reshape(-1)], axis=1)
        like = (alike @ sides / np.maximum(sides.sum(axis=0), 1e-6)).T
        own = (like[0] / (like[0] + like[1] + 1e-12)).reshape(h, w).astype(np.float32)
        certain = _smoothed(own, weights, fixed, value)
    return certain


def along_edges(certain: Array, picture: NDArray[np.uint8], radius: int) -> Array:
    """A map (H, W) that follows the edges of RGB (H, W, 3): the guided filter of He et al. (2010) with a colour guide.

    Its linear models are computed from every second pixel, which gives nearly the same map (He and Sun, 2015).
    """
    full = picture.astype(np.float32) / 255
    guide, small, radius = full[::_SKIP, ::_SKIP], certain[::_SKIP, ::_SKIP], max(1, radius // _SKIP)
    mean = _box(guide, radius)
    mean_map = _box(small, radius)
    shared = _box(guide * small[..., None], radius) - mean * mean_map[..., None]
    spread = _box(guide[..., :, None] * guide[..., None, :], radius) - mean[..., :, None] * mean[..., None, :]
    slope = np.linalg.solve(spread + 1e-3 * np.eye(3), shared[..., None])[..., 0]
    offset = mean_map - (slope * mean).sum(axis=-1)
    models = _box(np.concatenate([slope, offset[..., None]], axis=-1), radius)
    fine = resize_linear(np.ascontiguousarray(models.transpose(2, 0, 1)), certain.shape)
    return np.asarray((fine[:3] * full.transpose(2, 0, 1)).sum(axis=0) + fine[3], np.float32)


def _pairs(h: int, w: int) -> Iterable[tuple[Cell, tuple[tuple[slice, slice], tuple[slice, slice]]]]:
    """For each step, all cells from which it can be made, and where it leads."""
    for y, x in _STEPS:
        here = slice(0, h - y), slice(max(0, -x), w - max(0, x))
        there = slice(y, h), slice(max(0, x), w + min(0, x))
        yield (y, x), (here, there)


def _likeness(cells: Array, here: tuple[slice, slice], there: tuple[slice, slice]) -> Array:
    a, b = cells[(slice(None), *here)], cells[(slice(None), *there)]
    return np.asarray((a * b).sum(axis=0), np.float32)


def _unlikeness(cells: Array) -> list[Array]:
    """For each step, the unlikeness of all cells to the neighbours that it leads to."""
    return [np.float32(1) - _likeness(cells, here, there) for _, (here, there) in _pairs(*cells.shape[1:])]


def _contrast(unlike: Sequence[Array], inside: NDArray[np.bool_]) -> float:
    """The mean unlikeness of neighbours that an outline parts, less a share of that of neighbours within."""
    across, within = [], []
    for values, (_, (here, there)) in zip(unlike, _pairs(*inside.shape), strict=True):
        across.append(values[inside[here] != inside[there]])
        within.append(values[inside[here] & inside[there]])
    means = [float(np.concatenate(parts).mean()) if sum(map(len, parts)) else 0.0 for parts in (across, within)]
    return means[0] - _WITHIN * means[1]


def _weights(cells: Array) -> list[Array]:
    unlike = _unlikeness(cells)
    mean = float(np.mean(np.concatenate([u.reshape(-1) for u in unlike]))) + 1e-6
    return [np.exp(-2 * u / mean).astype(np.float32) for u in unlike]


def _smoothed(own: Array, weights: Sequence[Array], fixed: NDArray[np.bool_], value: Array) -> Array:
    pairs = [pair for _, pair in _pairs(*own.shape)]
    total = np.full(own.shape, _RESTART, np.float32)
    for weight, (here, there) in zip(weights, pairs, strict=True):
        total[here] += weight
        total[there] += weight
    certain = np.where(fixed, value, own).astype(np.float32)
    for _ in range(_WALK):
        mixed = _RESTART * own
        for weight, (here, there) in zip(weights, pairs, strict=True):
            mixed[here] += weight * certain[there]
            mixed[there] += weight * certain[here]
        certain = np.where(fixed, value, mixed / total).astype(np.float32)
    return certain


def _box(maps: NDArray[Any], radius: int) -> Array:
    """The mean of (H, W, ...) over squares; edges are repeated."""
    side = 2 * radius + 1
    for axis in (0, 1):
        pad = [(0, 0)] * maps.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(maps, pad, mode="edge"), axis=axis, dtype=np.float64)
        last, first = [slice(None)] * maps.ndim, [slice(None)] * maps.ndim
        last[axis], first[axis] = slice(side, None), slice(0, -side)
        maps = ((sums[tuple(last)] - sums[tuple(first)]) / side).astype(np.float32)
    return maps
