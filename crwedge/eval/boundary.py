"""Counts of the DAVIS metrics in one frame for each object: areas, boundary pixels and matched boundary pixels.

The official toolkit dilates whole boundary maps with a disc. Here each object is cropped, its boundary is packed into bits, and
each boundary pixel is matched by testing the bits of the rows within the disc. All values are integers, so the counts equal
those of the dilation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.jit import kernel

TOLERANCE = 0.008
"""Largest distance of matched boundary pixels, as a share of the frame's diagonal (DAVIS)."""

INTERSECTION, PREDICTED, TRUE, PREDICTED_EDGE, PREDICTED_MATCHED, TRUE_EDGE, TRUE_MATCHED = range(7)
"""Columns of `count_frame`."""


def boundary_reach(height: int, width: int) -> int:
    """Radius in pixels of the disc that matches boundaries: 0.008 of the diagonal, rounded up."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


def count_frame(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], object_ids: tuple[int, ...], reach: int | None = None
) -> NDArray[np.int64]:
    """Counts for J and F of each object.

    Args:
        predicted: (H, W) ids.
        truth: (H, W) ids of the same size.
        object_ids: ids to score; other ids count as background.
        reach: radius of the matching disc in pixels; None: that of DAVIS.

    Returns:
        (objects, 7) integers: intersection, predicted area, true area; then, for the prediction and the truth, the number of
        boundary pixels and the number of those that are within the disc of a boundary pixel of the other.
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
        ours, theirs = predicted[y], truth[y]
        # Skips rows of background without a branch for each pixel.
        marked = np.uint8(0)
        for x in range(width):
            marked |= ours[x] | theirs[x]
        if marked == 0:
            continue
        for x in range(width):
            p, t = ours[x], theirs[x]
            if p == 0 and t == 0:
                continue
            areas[p, 1] += 1
            areas[t, 2] += 1
            if p == t:
                areas[p, 0] += 1
            elif p != 0:
                _widen(boxes[p], y, x)
            if t != 0:
                _widen(boxes[t], y, x)
    for i in range(object_ids.size):
        object_id = object_ids[i]
        counts[i, 0], counts[i, 1], counts[i, 2] = areas[object_id, 0], areas[object_id, 1], areas[object_id, 2]
        if boxes[object_id, 1] < 0:
            continue
        # A boundary pixel is above or left of a change, so the box grows by one there.
        top, left = max(0, boxes[object_id, 0] - 1), max(0, boxes[object_id, 2] - 1)
        bottom, right = boxes[object_id, 1] + 1, boxes[object_id, 3] + 1
        edge_p, bits_p = _edges(predicted, object_id, top, bottom, left, right)
        edge_t, bits_t = _edges(truth, object_id, top, bottom, left, right)
        counts[i, 3], counts[i, 4] = edge_p.shape[0], _matched(edge_p, bits_t, half_widths)
        counts[i, 5], counts[i, 6] = edge_t.shape[0], _matched(edge_t, bits_p, half_widths)


@kernel
def _widen(box: Any, y: int, x: int) -> None:
    """Extend a box (top, bottom, left, right) by a pixel; rows come in order."""
    if box[1] < 0:
        box[0] = y
    box[1] = y
    if x < box[2]:
        box[2] = x
    if x > box[3]:
        box[3] = x


@kernel
def _edges(ids: Any, object_id: int, top: int, bottom: int, left: int, right: int) -> Any:
    """Boundary pixels (n, 2) of one object in a box, and the same as a bitmap (rows, 64-bit words).

    A pixel is on the boundary when it differs from its right, lower or lower-right neighbour inside the frame. Each row of the
    bitmap has a word of zeros on either side.
    """
    height, width = ids.shape
    rows, columns = bottom - top, right - left
    bits = np.zeros((rows, columns // 64 + 3), np.uint64)
    found = np.empty((rows * columns, 2), np.int32)
    # One more column and row than the box; outside the frame the last ones are repeated.
    here, below = np.empty(columns + 1, np.uint8), np.empty(columns + 1, np.uint8)
    flags = np.empty(columns, np.uint8)
    n = 0
    _is_object(ids[top], object_id, left, width, here)
    for row in range(rows):
        _is_object(ids[min(top + row + 1, height - 1)], object_id, left, width, below)
        any_flag = np.uint8(0)
        for x in range(columns):
            flags[x] = (here[x] ^ here[x + 1]) | (here[x] ^ below[x]) | (here[x] ^ below[x + 1])
            any_flag |= flags[x]
        if any_flag:
            for x in range(columns):
                if flags[x]:
                    found[n, 0], found[n, 1] = row, x
                    n += 1
                    bits[row, 1 + (x >> 6)] |= np.uint64(1) << np.uint64(x & 63)
        here, below = below, here
    return found[:n], bits


@kernel
def _is_object(line: Any, object_id: int, left: int, width: int, out: Any) -> None:
    """Whether each pixel from `left` on is the object; outside the frame the last one is repeated."""
    inside = min(out.size, width - left)
    for x in range(inside):
        out[x] = line[left + x] == object_id
    for x in range(inside, out.size):
        out[x] = out[inside - 1]


@kernel
def _matched(edges: Any, bits: Any, half_widths: Any) -> int:
    """Number of `edges` that have a boundary pixel of the other map within the disc."""
    rows, reach = bits.shape[0], half_widths.size - 1
    total = 0
    for i in range(edges.shape[0]):
        row, column = edges[i, 0], edges[i, 1]
        hit = False
        for dy in range(reach + 1):
            half = half_widths[dy]
            if row >= dy:
                hit = _any_bit(bits[row - dy], column - half, column + half)
            if not hit and row + dy < rows:
                hit = _any_bit(bits[row + dy], column - half, column + half)
            if hit:
                total += 1
                break
    return total


@kernel
def _any_bit(words: Any, first: int, last: int) -> bool:
    """Whether a bit of the columns `first` to `last` is set; columns outside the row are zero."""
    first, last = max(first + 64, 64), min(last + 64, words.size * 64 - 1)
    start, end = first >> 6, last >> 6
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    low, high = ones << np.uint64(first & 63), ones >> np.uint64(63 - (last & 63))
    if start == end:
        return bool(words[start] & low & high)
    if words[start] & low or words[end] & high:
        return True
    for word in range(start + 1, end):  # noqa: SIM110 (the compiler knows no generators)
        if words[word]:
            return True
    return False
