"""What the DAVIS metrics count in one frame, object by object: areas and boundary pixels that find a partner.

The official toolkit dilates whole boundary maps with a disc. Here each object is cut out first, each row of the
boundary map becomes distances to the nearest boundary pixel of that row, and only boundary pixels are asked whether
one of the rows around them holds a partner within the disc. Everything is whole numbers, so the counts are exactly
those of the dilation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.jit import kernel

TOLERANCE = 0.008
"""Reach of a boundary match as a share of the frame's diagonal (DAVIS)."""

INTERSECTION, PREDICTED, TRUE, PREDICTED_EDGE, PREDICTED_MATCHED, TRUE_EDGE, TRUE_MATCHED = range(7)
"""Columns of `count_frame`."""


def boundary_reach(height: int, width: int) -> int:
    """Radius in pixels of the disc that matches boundaries: 0.008 of the diagonal, rounded up."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


def count_frame(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], object_ids: tuple[int, ...], reach: int | None = None
) -> NDArray[np.int64]:
    """Count what J and F of each object need.

    Args:
        predicted: (H, W) ids.
        truth: (H, W) ids of the same size.
        object_ids: ids to score; others count as background.
        reach: radius of the matching disc in pixels; None takes that of DAVIS.

    Returns:
        (objects, 7) whole numbers: intersection, predicted area, true area, then for either side the boundary pixels
        and how many of them lie within the disc of one of the other side.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted {predicted.shape} and truth {truth.shape} differ in size")
    reach = boundary_reach(*truth.shape) if reach is None else reach
    counts = np.zeros((len(object_ids), 7), np.int64)
    if not object_ids:
        return counts
    half_widths = np.array([math.isqrt(reach * reach - dy * dy) for dy in range(reach + 1)], np.int64)
    _count(
        np.ascontiguousarray(predicted),
        np.ascontiguousarray(truth),
        np.array(object_ids, np.int64),
        half_widths,
        counts,
    )
    return counts


@kernel
def _count(predicted: Any, truth: Any, object_ids: Any, half_widths: Any, counts: Any) -> None:
    height, width = predicted.shape
    areas = np.zeros((256, 3), np.int64)
    boxes = np.empty((256, 4), np.int64)  # top, bottom, left, right, of both sides together
    for i in range(256):
        boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = height, -1, width, -1
    for y in range(height):
        for x in range(width):
            p, t = predicted[y, x], truth[y, x]
            if p == 0 and t == 0:
                continue
            areas[p, 1] += 1
            areas[t, 2] += 1
            if p == t:
                areas[p, 0] += 1
            elif p != 0:
                boxes[p, 0], boxes[p, 1] = min(boxes[p, 0], y), max(boxes[p, 1], y)
                boxes[p, 2], boxes[p, 3] = min(boxes[p, 2], x), max(boxes[p, 3], x)
            if t != 0:
                boxes[t, 0], boxes[t, 1] = min(boxes[t, 0], y), max(boxes[t, 1], y)
                boxes[t, 2], boxes[t, 3] = min(boxes[t, 2], x), max(boxes[t, 3], x)
    for i in range(object_ids.size):
        object_id = object_ids[i]
        counts[i, 0], counts[i, 1], counts[i, 2] = areas[object_id, 0], areas[object_id, 1], areas[object_id, 2]
        if boxes[object_id, 1] < 0:
            continue
        # An edge pixel is the one above or left of a change: the box grows by one there.
        top, left = max(0, boxes[object_id, 0] - 1), max(0, boxes[object_id, 2] - 1)
        bottom, right = boxes[object_id, 1] + 1, boxes[object_id, 3] + 1
        edge_p, near_p = _edges(predicted, object_id, top, bottom, left, right, half_widths.size)
        edge_t, near_t = _edges(truth, object_id, top, bottom, left, right, half_widths.size)
        counts[i, 3], counts[i, 4] = edge_p.shape[0], _matched(edge_p, near_t, half_widths)
        counts[i, 5], counts[i, 6] = edge_t.shape[0], _matched(edge_t, near_p, half_widths)


@kernel
def _edges(ids: Any, object_id: int, top: int, bottom: int, left: int, right: int, far: int) -> Any:
    """Boundary pixels (n, 2) of one object in a box, and for each pixel of the box how far the next one is in its row.

    A pixel is on the boundary when it differs from its right, lower or lower-right neighbour, of those inside the
    frame.
    """
    height, width = ids.shape
    rows, columns = bottom - top, right - left
    near = np.empty((rows, columns), np.int16)
    found = np.empty((rows * columns, 2), np.int32)
    n = 0
    for row in range(rows):
        y = top + row
        distance = far
        for column in range(columns):
            x = left + column
            here = ids[y, x] == object_id
            edge = x + 1 < width and (ids[y, x + 1] == object_id) != here
            if y + 1 < height:
                edge = edge or (ids[y + 1, x] == object_id) != here
                edge = edge or (x + 1 < width and (ids[y + 1, x + 1] == object_id) != here)
            if edge:
                found[n, 0], found[n, 1] = row, column
                n += 1
                distance = 0
            near[row, column] = distance
            distance = min(distance + 1, far)
        distance = far
        for column in range(columns - 1, -1, -1):
            if near[row, column] < distance:
                distance = near[row, column]
            near[row, column] = distance
            distance = min(distance + 1, far)
    return found[:n], near


@kernel
def _matched(edges: Any, near: Any, half_widths: Any) -> int:
    """How many of `edges` have a boundary pixel of the other side within the disc."""
    rows = near.shape[0]
    total = 0
    for i in range(edges.shape[0]):
        row, column = edges[i, 0], edges[i, 1]
        for dy in range(half_widths.size):
            above, below = row - dy, row + dy
            if (above >= 0 and near[above, column] <= half_widths[dy]) or (
                below < rows and near[below, column] <= half_widths[dy]
            ):
                total += 1
                break
    return total
