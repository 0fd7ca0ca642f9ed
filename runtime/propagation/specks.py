"""Isolated specks of a label map, which are removed from the output and never from the context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.masks import VOID
from crwedge.runtime.propagation.components import components

SMALL = 0.05
"""A speck has less than this share of the area of the object's largest part."""
FAR = 0.1
"""A speck is farther from every larger part than this share of the largest part's diameter, sqrt(area)."""


def remove_specks(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Object ids (H, W) without small parts of an object that are far from its large parts.

    Parts are connected over 8 neighbours. The distance is that of the boxes around the parts, along the longer axis. A speck
    takes the id that most of the pixels beside it have. The map itself is returned where it has no speck.
    """
    shown = np.where(ids == VOID, 0, ids)
    ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(ys):
        return ids
    box = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    winner = shown[box].astype(np.int64)
    part = np.empty(winner.shape, np.int64)
    parts = components(winner, part)
    areas, boxes, out = parts[:, 1], parts[:, 2:], ids
    for i in np.unique(parts[:, 0]):
        own = parts[:, 0] == i
        largest = areas[own].max()
        large = own & (areas >= SMALL * largest)
        for speck in np.flatnonzero(own & ~large):
            if (_gaps(boxes[speck], boxes[large]) > FAR * np.sqrt(largest)).all():
                out = out.copy() if out is ids else out
                _fill(out, (int(ys[0]), int(xs[0])), part, int(speck) + 1, boxes[speck])
    return out


def _gaps(box: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels between a box (y0, x0, y1, x1; ends exclusive) and others (n, 4) along the longer axis; 0 where they overlap."""
    rows = np.maximum(others[:, 0] - box[2], box[0] - others[:, 2])
    columns = np.maximum(others[:, 1] - box[3], box[1] - others[:, 3])
    return np.asarray(np.maximum(np.maximum(rows, columns), 0), np.int64)


def _fill(
    ids: NDArray[np.uint8],
    origin: tuple[int, int],
    parts: NDArray[np.int64],
    speck: int,
    box: NDArray[np.int64],
) -> None:
    """Give the pixels of a speck the id that most of their neighbours have; changes `ids`."""
    top, left = origin[0] + int(box[0]), origin[1] + int(box[1])
    own = parts[box[0] : box[2], box[1] : box[3]] == speck
    # One pixel more at each side, where the frame has one.
    y0, x0 = max(0, top - 1), max(0, left - 1)
    y1, x1 = min(ids.shape[0], top + own.shape[0] + 1), min(ids.shape[1], left + own.shape[1] + 1)
    inside = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.bool_)
    inside[1 + top - y0 : 1 + top - y0 + own.shape[0], 1 + left - x0 : 1 + left - x0 + own.shape[1]] = own
    near = inside[:-2, 1:-1] | inside[2:, 1:-1] | inside[1:-1, :-2] | inside[1:-1, 2:]
    inside = inside[1:-1, 1:-1]
    window = ids[y0:y1, x0:x1]
    beside = np.bincount(window[near & ~inside], minlength=256)
    window[inside] = int(beside.argmax())
