"""Upsampling of the labels along the edges of the frame, for the output; the context never sees it.

Joint bilateral upsampling: Kopf, Cohen, Lischinski, Uyttendaele, "Joint Bilateral Upsampling", SIGGRAPH 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.runtime.propagation.jit import kernel
from crwedge.runtime.propagation.view import View

REACH = 1.0
"""Standard deviation of the distance, in labels."""
SPREAD = 0.07 * 255
"""Standard deviation of the difference in colour, of 255."""
FARTHEST = 1 << 13
"""Squared differences in colour from it on weigh alike: 3e-6."""
_WEIGHTS = np.exp(-np.arange(FARTHEST) / (2 * SPREAD**2)).astype(np.float32)


def guided_ids(
    ids: NDArray[np.uint8],
    soft: NDArray[np.float32],
    object_ids: tuple[int, ...],
    view: View,
    frame: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Ids (H, W) whose borders lie along edges of the frame.

    Where the best channels of 3 x 3 labels differ, each pixel of the middle label takes the channel with the largest sum over
    the nine labels, weighted by the distance and by the difference between the pixel and the mean colour of the label.

    Args:
        ids: (H, W) the linearly upsampled labels; not changed.
        soft: (K, h, w) soft labels, channel 0 the background.
        object_ids: ids of the channels after the background.
        view: what the labels cover: `View.finer` of the features' view.
        frame: RGB uint8 (H, W, 3).
    """
    rows, columns = view.pixel_edges((ids.shape[0], ids.shape[1]))
    ends, full = (int(rows[-1]), int(columns[-1])), grid_size(*view.size)
    down, across = (_weights(*axis) for axis in zip(ends, ids.shape, full, strict=True))
    labels, table, out = np.ascontiguousarray(soft.transpose(1, 2, 0)), np.array((0, *object_ids), np.uint8), ids.copy()
    _refine(labels, labels.argmax(axis=2), rows, columns, down, across, frame, _WEIGHTS, table, out)
    return out


def _weights(end: int, pixels: int, total: int) -> NDArray[np.float32]:
    """(end, 3) the weights of the label before that of each pixel, of its own, and of the one behind, along an axis.

    Args:
        end: pixels from the first that are needed.
        pixels: of the frame.
        total: labels of the frame.
    """
    inside = np.arange(end)
    offset = (inside + 0.5) * total / pixels - 0.5 - (2 * inside + 1) * total // (2 * pixels)
    return np.asarray(np.exp(-((offset[:, None] - (-1, 0, 1)) ** 2) / (2 * REACH**2)), np.float32)


@kernel
def _refine(
    soft: NDArray[np.float32],
    winner: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    down: NDArray[np.float32],
    across: NDArray[np.float32],
    frame: NDArray[np.uint8],
    weights: NDArray[np.float32],
    table: NDArray[np.uint8],
    ids: NDArray[np.uint8],
) -> None:
    """See `guided_ids`; `rows` and `columns` are `View.pixel_edges`, `down` and `across` are `_weights`."""
    h, w, count = soft.shape
    mixed, needed = np.zeros((h, w), np.bool_), np.zeros((h, w), np.bool_)
    for y in range(h):
        for x in range(w):
            for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
                if y + dy < h and 0 <= x + dx < w and winner[y, x] != winner[y + dy, x + dx]:
                    mixed[y, x] = mixed[y + dy, x + dx] = True
    for y in range(h):
        for x in range(w):
            if mixed[y, x]:
                needed[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    colours = np.full((h, w, 3), np.float32(-1))
    for y in range(h):
        for x in range(w):
            size = (rows[y + 1] - rows[y]) * (columns[x + 1] - columns[x])
            if needed[y, x] and size > 0:
                for c in range(3):
                    total = 0
                    for i in range(rows[y], rows[y + 1]):
                        for j in range(columns[x], columns[x + 1]):
                            total += frame[i, j, c]
                    colours[y, x, c] = np.float32(total / size)
    active, sums = np.empty(count, np.int64), np.empty(count, np.float32)
    for y in range(h):
        for x in range(w):
            if not mixed[y, x]:
                continue
            y0, y1, x0, x1 = max(0, y - 1), min(h, y + 2), max(0, x - 1), min(w, x + 2)
            n = 0
            for c in range(count):
                present = False
                for a in range(y0, y1):
                    for b in range(x0, x1):
                        present = present or soft[a, b, c] > 0
                if present:
                    active[n] = c
                    n += 1
            for i in range(rows[y], rows[y + 1]):
                for j in range(columns[x], columns[x + 1]):
                    sums[:n] = 0
                    for a in range(y0, y1):
                        for b in range(x0, x1):
                            # A label without a pixel, of a small frame, has no colour.
                            if colours[a, b, 0] < 0:
                                continue
                            red = np.float32(frame[i, j, 0]) - colours[a, b, 0]
                            green = np.float32(frame[i, j, 1]) - colours[a, b, 1]
                            blue = np.float32(frame[i, j, 2]) - colours[a, b, 2]
                            far = min(int(red * red + green * green + blue * blue), weights.shape[0] - 1)
                            weight = weights[far] * down[i, a - y + 1] * across[j, b - x + 1]
                            for k in range(n):
                                sums[k] += weight * soft[a, b, active[k]]
                    best = 0
                    for k in range(1, n):
                        if sums[k] > sums[best]:
                            best = k
                    ids[i, j] = table[active[best]]
