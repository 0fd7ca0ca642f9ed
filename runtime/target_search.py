"""Where an object of a painted frame is in another frame, and whether that is certain.

The check is a cycle: each cell of the object looks for its most similar cell in the frame, and that cell looks back among all
cells of the painted frame, background included. A match counts when the walk comes back to where it began and when matches
of neighbouring cells lie beside each other in the frame too. An object may be there when such matches cover enough of it, and
when its cells are more similar to the frame than to the background of their own picture, which certainly does not show it. Its
mask is checked then; see `crwedge.runtime.target_cycle`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.blas import one_blas_thread
from crwedge.runtime.propagation.view import Size, View
from crwedge.runtime.region import Box

Cells = NDArray[np.int64]
"""Indices into the h * w cells of a grid, row by row."""
Rows = NDArray[np.float32]
"""(cells, C) features, unit length over C."""

_EVIDENCE = 0.0125
"""Least product of lead and cover of a match."""
_LEAST_COVER = 0.14
"""Least cover of a match: a look-alike has parts of its skin in common."""
_FEWEST = 12
"""Fewest distinct coherent matches."""
_SLACK = 1
"""Cells by which a walk may miss where it began, and by which neighbouring matches may differ."""
_SUPPORT = 3
"""Coherent neighbours that a match needs, of eight."""
_ROOM = 0.2
"""Of an object's height and width, how far it may reach beyond where its matches say."""
_LEAST_ROOM = 2
"""The same in cells."""
_MOST_SCALE = 3.0
"""How much larger or smaller than in the painted frame an object may be, in cells."""
_BORDER = 2
"""Cells around an object that count neither as object nor as background: their features see both."""
_QUERIES = 1024
"""Cells of a frame that are labelled at once."""


@dataclass(frozen=True, eq=False)
class Painted:
    """An object of an encoded frame."""

    cells: Cells
    """(n,) its cells."""
    rival: NDArray[np.float32]
    """(n,) similarity of each to the most similar background cell."""
    background: Cells
    """Cells that are certainly not of the object."""


@dataclass(frozen=True, eq=False)
class Known:
    """An encoded frame with its labels."""

    rows: Rows
    """(h * w, C)."""
    grid: Size
    """(h, w)."""
    labels: NDArray[np.float32]
    """(h * w, K) soft labels, column 0 the background."""
    objects: Mapping[int, Painted]
    """Each object that can be matched."""


@dataclass(frozen=True, eq=False)
class Match:
    """How an object of a painted frame matches another frame."""

    lead: float
    """Mean over the object's cells: similarity to the best cell of the frame - to the best background cell of the painted
    frame."""
    cover: float
    """Distinct cells of the frame with a coherent match, over the object's cells."""
    cells: Cells
    """Those cells of the frame."""
    box: Box
    """Where the whole object should be in the frame, by its coherent matches."""

    @property
    def certainty(self) -> float:
        """The evidence over what it takes: from 1 on the match is certain."""
        evidence = max(0.0, self.lead) * self.cover / _EVIDENCE
        return min(evidence, self.cover / _LEAST_COVER, self.cells.size / _FEWEST)


def as_rows(features: NDArray[np.float32]) -> Rows:
    """Features (C, h, w) as (h * w, C)."""
    return np.ascontiguousarray(features.reshape(features.shape[0], -1).T, np.float32)


def know(
    features: NDArray[np.float32], soft: NDArray[np.float32], ids: Sequence[int], most: int | None = None
) -> Known:
    """Make ready what every search needs of a painted frame.

    Args:
        features: (C, h, w), unit length over C.
        soft: (1 + len(ids), h, w) soft labels, channel 0 the background.
        ids: the objects, in the order of the channels.
        most: larger objects, in cells, are not matched at this scale.
    """
    rows, grid = as_rows(features), (features.shape[1], features.shape[2])
    labels = np.ascontiguousarray(soft.reshape(soft.shape[0], -1).T)
    winner = labels.argmax(axis=1)
    objects = {}
    for channel, object_id in enumerate(ids, start=1):
        inside = winner == channel
        others = np.flatnonzero(~_grown((labels[:, channel] > 0).reshape(grid), _BORDER))
        cells = np.flatnonzero(inside)
        if _FEWEST <= cells.size <= (most or cells.size) and others.size:
            with one_blas_thread():
                objects[object_id] = Painted(cells, (rows[others] @ rows[cells].T).max(axis=0), others)
    return Known(rows, grid, labels, objects)


def match(known: Known, object_id: int, rows: Rows, grid: Size) -> Match:
    """Match an object of `known.objects` with a frame of (h * w, C) features on the grid (h, w)."""
    painted = known.objects[object_id]
    cells, rival = painted.cells, painted.rival
    with one_blas_thread():
        similarity = known.rows[cells] @ rows.T
        there = similarity.argmax(axis=1)
        asked, of_each = np.unique(there, return_inverse=True)
        back = (rows[asked] @ known.rows.T).argmax(axis=1)[of_each]
    best = similarity[np.arange(cells.size), there]
    coherent = coherent_matches(cells, there, back, known.grid, grid)
    found = np.unique(there[coherent])
    box = object_box(cells, cells[coherent], there[coherent], known.grid, grid)
    return Match(float((best - rival).mean()), found.size / cells.size, found, box)


def best_match(scales: Sequence[Known], object_id: int, rows: Rows, grid: Size) -> Match | None:
    """The most certain match of an object at any scale; None where it can be matched at none."""
    found = [match(known, object_id, rows, grid) for known in scales if object_id in known.objects]
    return max(found, key=lambda one: one.certainty, default=None)


def coherent_matches(cells: Cells, there: Cells, back: Cells, grid: Size, frame_grid: Size) -> NDArray[np.bool_]:
    """Which matches come back to where they began and agree with those of neighbouring cells.

    Args:
        cells: (n,) cells of the object in the painted frame.
        there: (n,) the cell of the frame that each matches.
        back: (n,) the cell of the painted frame that this one matches.
        grid: (h, w) of the painted frame.
        frame_grid: (h, w) of the frame.
    """
    at, moved, returned = _places(cells, grid), _places(there, frame_grid), _places(back, grid)
    closed = np.abs(returned - at).max(axis=1) <= _SLACK
    # With a border of nothing around the grid, so that no neighbour needs a test of its own.
    number = np.full((grid[0] + 2, grid[1] + 2), -1, np.int64)
    number[at[closed, 0] + 1, at[closed, 1] + 1] = np.flatnonzero(closed)
    support = np.zeros(cells.size, np.int64)
    for dy, dx in itertools.product((-1, 0, 1), repeat=2):
        if dy == dx == 0:
            continue
        neighbour = number[at[:, 0] + 1 + dy, at[:, 1] + 1 + dx]
        apart = np.abs(moved[neighbour] - moved - (dy, dx)).max(axis=1)
        support += (neighbour >= 0) & (apart <= _SLACK)
    return np.asarray(closed & (support >= _SUPPORT))


def label_everywhere(known: Sequence[Known], rows: Rows, settings: PropagationSettings) -> NDArray[np.float32]:
    """Soft labels (K, cells) of a frame from painted frames, without a neighbourhood.

    Args:
        known: frames with the same K channels.
        rows: (cells, C) features of the frame.
        settings: k and temperature.
    """
    labels = np.concatenate([one.labels for one in known])
    soft = np.empty((labels.shape[1], rows.shape[0]), np.float32)
    for low in range(0, rows.shape[0], _QUERIES):
        queries = rows[low : low + _QUERIES].T
        best = np.full((queries.shape[1], settings.topk), -np.inf, np.float32)
        entries = np.zeros(best.shape, np.int64)
        first = 0
        for one in known:
            with one_blas_thread():
                similarity = one.rows @ queries
            kernels.scan_all(similarity, first, 1, best, entries)
            first += one.rows.shape[0]
        weights = np.exp((best - best[:, :1]) / np.float32(settings.temperature))
        weights /= weights.sum(axis=1, keepdims=True)
        soft[:, low : low + _QUERIES] = np.einsum("qk,qkc->cq", weights, labels[entries])
    return soft


def object_box(cells: Cells, matched: Cells, there: Cells, grid: Size, frame_grid: Size) -> Box:
    """The box around an object in a frame, with room: its matches scaled and moved, and what they miss around them.

    Args:
        cells: (n,) all cells of the object in the painted frame.
        matched: (m,) those with a coherent match.
        there: (m,) the cells of the frame that they match.
        grid: (h, w) of the painted frame.
        frame_grid: (h, w) of the frame.

    Returns:
        The box; the whole frame where there is no match.
    """
    if not matched.size:
        return np.array([0.0, 0.0, 1.0, 1.0])
    before, after = _places(matched, grid) + 0.5, _places(there, frame_grid) + 0.5
    apart, moved = before - before.mean(axis=0), after - after.mean(axis=0)
    # The scale of least squares, without rotation.
    scale = np.clip((apart * moved).sum() / max(1.0, float((apart**2).sum())), 1 / _MOST_SCALE, _MOST_SCALE)
    all_after = after.mean(axis=0) + scale * (_places(cells, grid) + 0.5 - before.mean(axis=0))
    both = np.concatenate([after, all_after])
    low, high = both.min(axis=0) - 0.5, both.max(axis=0) + 0.5
    room = np.maximum(_LEAST_ROOM, _ROOM * (high - low))
    ends = np.concatenate([low - room, high + room]) / np.tile(frame_grid, 2)
    return np.asarray(np.clip(ends, 0, 1))


def background(rows: Rows, outside: NDArray[np.bool_], channels: int) -> list[Known]:
    """Cells of the frame itself that are background, as a frame to label from: a new place looks like nothing painted."""
    labels = np.zeros((int(outside.sum()), channels), np.float32)
    labels[:, 0] = 1
    return [Known(rows[outside], (1, len(labels)), labels, {})] if len(labels) else []


def outside_box(box: Box, view: View) -> NDArray[np.bool_]:
    """Which cells (h, w) of a view have their centre outside a box."""
    full = grid_size(*view.size)
    inside = []
    for axis in (0, 1):
        at = (view.origin[axis] + np.arange(view.grid[axis]) + 0.5) / full[axis]
        inside.append((at >= box[axis]) & (at <= box[axis + 2]))
    return np.asarray(~np.outer(*inside))


def _places(cells: Cells, grid: Size) -> NDArray[np.int64]:
    """(n, 2) row and column of cells."""
    return np.stack(np.divmod(cells, grid[1]), axis=1)


def _grown(inside: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """(h, w) with everything within so many cells of what is inside, in rows and columns."""
    grown = inside
    for axis in (0, 1):
        padded = np.pad(grown, [(steps, steps) if a == axis else (0, 0) for a in (0, 1)])
        shifts = [np.take(padded, range(s, s + inside.shape[axis]), axis=axis) for s in range(2 * steps + 1)]
        grown = np.any(shifts, axis=0)
    return np.asarray(grown)
