"""Isolated specks of a label map, which are removed from the output and never from the context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.masks import object_ids
from crwedge.runtime.propagation import kernels

SMALL = 0.05
"""A speck has less than this share of the area of the object's largest part."""
FAR = 0.1
"""A speck is farther from every larger part than this share of the largest part's diameter, sqrt(area)."""


def remove_specks(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Object ids (H, W) without small parts of an object that are far from its large parts.

    Parts are connected over 8 neighbours. The distance is that of the boxes around the parts, along the longer axis. A speck
    takes the id that most of the pixels beside it have. The map itself is returned where it has no speck.
    """
    out = ids
    for i in object_ids(ids):
        inside = ids == i
        ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
        parts = np.zeros((len(range(*box[0].indices(ids.shape[0]))), int(xs[-1] - xs[0] + 1)), np.int64)
        count = kernels.components(np.ascontiguousarray(inside[box]), parts)
        if count < 2:
            continue
        areas = np.bincount(parts.reshape(-1), minlength=count + 1)
        areas[0] = 0
        boxes = _boxes(parts, count)
        large = areas >= SMALL * areas.max()
        large[0] = False
        reach = FAR * np.sqrt(areas.max())
        for speck in np.flatnonzero(~large[1:]) + 1:
            if (_gaps(boxes[speck], boxes[large]) > reach).all():
                out = out.copy() if out is ids else out
                _fill(out, (int(ys[0]), int(xs[0])), parts, int(speck), boxes[speck])
    return out


def _boxes(parts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count + 1, 4) first row, first column, last row, last column of each part."""
    boxes = np.zeros((count + 1, 4), np.int64)
    boxes[:, :2] = max(parts.shape)
    rows, columns = np.nonzero(parts)
    number = parts[rows, columns]
    np.minimum.at(boxes[:, 0], number, rows)
    np.minimum.at(boxes[:, 1], number, columns)
    np.maximum.at(boxes[:, 2], number, rows)
    np.maximum.at(boxes[:, 3], number, columns)
    return boxes


def _gaps(box: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels between a box (4,) and others (n, 4), along the longer axis; 0 where they overlap."""
    rows = np.maximum(others[:, 0] - box[2], box[0] - others[:, 2]) - 1
    columns = np.maximum(others[:, 1] - box[3], box[1] - others[:, 3]) - 1
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
    own = parts[box[0] : box[2] + 1, box[1] : box[3] + 1] == speck
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
