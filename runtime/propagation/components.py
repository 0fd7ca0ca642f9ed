"""Which label leads in each cell, and the connected parts of each label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.jit import kernel


@kernel
def leaders(labels: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The leading channel of each of (n, K) soft labels, the lower one of equals, and by how much it leads the next."""
    winner, lead = np.zeros(labels.shape[0], np.int64), np.empty(labels.shape[0], np.float32)
    for row in range(labels.shape[0]):
        first, second, at = labels[row, 0], np.float32(0.0), 0
        for channel in range(1, labels.shape[1]):
            value = labels[row, channel]
            if value > first:
                first, second, at = value, first, channel
            elif value > second:
                second = value
        winner[row], lead[row] = at, first - second
    return winner, lead


@kernel
def components(winner: NDArray[np.int64], out: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components (8 neighbours) of the cells with the same number above 0.

    Args:
        winner: (h, w), 0 where there is nothing.
        out: (h, w) takes the number of each cell's component, from 1; 0 where there is none. Changed in place.

    Returns:
        Of each component, in their order: its number in `winner`, its cells, and y0, x0, y1, x1 of the box around it, the
        last two exclusive.
    """
    h, w = winner.shape
    out[:] = 0
    waiting = np.empty(h * w, np.int64)
    parts = np.empty((h * w, 6), np.int64)
    found = 0
    for start in range(h * w):
        kind = winner[start // w, start % w]
        if kind == 0 or out[start // w, start % w]:
            continue
        one = parts[found]
        one[0], one[1], one[2], one[3], one[4], one[5] = kind, 0, h, w, 0, 0
        found += 1
        out[start // w, start % w] = found
        waiting[0], count = start, 1
        while count:
            count -= 1
            y, x = waiting[count] // w, waiting[count] % w
            one[1] += 1
            one[2], one[3], one[4], one[5] = min(one[2], y), min(one[3], x), max(one[4], y + 1), max(one[5], x + 1)
            for j in range(max(0, y - 1), min(h, y + 2)):
                for i in range(max(0, x - 1), min(w, x + 2)):
                    if winner[j, i] == kind and not out[j, i]:
                        out[j, i] = found
                        waiting[count] = j * w + i
                        count += 1
    return parts[:found].copy()
