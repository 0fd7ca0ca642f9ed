"""The compiled loops of propagation: packing, threshold scans, softmax over the kept, label gather, output.

Everything here works on plain arrays. `cell` is y * w + x; `entry` is slot * h * w + cell, a row of the context's labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.jit import kernel


@kernel
def pack_rows(features: NDArray[np.float32], y0: int, y1: int, out: NDArray[np.float32]) -> None:
    """Rows y0..y1 of (h, w, C) as columns: out[x, y - y0] = features[y, x], so that a window of columns is contiguous."""
    c = features.shape[2]
    for x in range(features.shape[1]):
        for y in range(y0, y1):
            for i in range(c):
                out[x, y - y0, i] = features[y, x, i]


@kernel
def pack_rows_half(features: NDArray[np.uint16], y0: int, y1: int, out: NDArray[np.float32]) -> None:
    """`pack_rows` from the bits of float16 values, none of which is infinite or NaN.

    The exponent is moved by a multiplication with 2^112, which also makes subnormal numbers right.
    """
    c = features.shape[2]
    bits = np.empty(c, np.uint32)
    scale = np.float32(2.0**112)
    for x in range(features.shape[1]):
        for y in range(y0, y1):
            for i in range(c):
                value = np.uint32(features[y, x, i])
                bits[i] = ((value & np.uint32(0x8000)) << np.uint32(16)) | (
                    (value & np.uint32(0x7FFF)) << np.uint32(13)
                )
            values = bits.view(np.float32)
            for i in range(c):
                out[x, y - y0, i] = values[i] * scale


@kernel
def _insert(best: NDArray[np.float32], entries: NDArray[np.int64], value: float, entry: int) -> None:
    """Put one entry into a falling list whose last value is below `value`."""
    at = best.shape[0] - 1
    while at > 0 and best[at - 1] < value:
        best[at] = best[at - 1]
        entries[at] = entries[at - 1]
        at -= 1
    best[at] = value
    entries[at] = entry


@kernel
def _any_above(line: NDArray[np.float32], threshold: NDArray[np.float32]) -> bool:
    """Whether anything passes its threshold. Almost always nothing does, and counting is a loop that can be vectorised."""
    passed = 0
    for q in range(line.shape[0]):
        passed += line[q] > threshold[q]
    return passed > 0


@kernel
def scan_window(
    similarity: NDArray[np.float32],
    queries: tuple[int, int, int, int],
    window: tuple[int, int, int, int],
    half: NDArray[np.int64],
    width: int,
    first_entry: int,
    copies: int,
    best: NDArray[np.float32],
    entries: NDArray[np.int64],
) -> None:
    """Keep the k best of each query among the keys within its neighbourhood. Coordinates are cells of the keys' grid.

    Args:
        similarity: (keys, queries); both run down the columns: the query (y, x) is (x - x0) * (y1 - y0) + y - y0.
        queries: x0, x1, y0, y1 of the tile of queries; it may lie outside the grid.
        window: x0, x1, y0, y1 of the window of keys, clipped to the grid.
        half: half[|dx|] is the largest |dy| inside the neighbourhood.
        width: w of the keys' grid.
        first_entry: entry of the frame's cell 0.
        copies: how many times the frame stands in the context; each cell is met as often.
        best: (queries, k) falling similarities so far, -inf where empty. Changed in place.
        entries: (queries, k) what they belong to. Changed in place.
    """
    x0, _, y0, y1 = queries
    kx0, kx1, ky0, ky1 = window
    reach = half.shape[0] - 1
    height = y1 - y0
    k = best.shape[1]
    count = similarity.shape[1]
    threshold = best[:, k - 1].copy()
    row = 0
    for x in range(kx0, kx1):
        for y in range(ky0, ky1):
            line = similarity[row]
            row += 1
            if not _any_above(line, threshold):
                continue
            for q in range(count):
                value = line[q]
                if not value > threshold[q]:
                    continue
                dx = abs(x - x0 - q // height)
                if dx > reach or abs(y - y0 - q % height) > half[dx]:
                    continue
                for _ in range(copies):
                    if not value > threshold[q]:
                        break
                    _insert(best[q], entries[q], value, first_entry + y * width + x)
                    threshold[q] = best[q, k - 1]


@kernel
def scan_all(
    similarity: NDArray[np.float32],
    first_entry: int,
    copies: int,
    best: NDArray[np.float32],
    entries: NDArray[np.int64],
) -> None:
    """Keep the k best of each query among all keys: (keys, queries), the key j is entry first_entry + j."""
    k = best.shape[1]
    count = similarity.shape[1]
    threshold = best[:, k - 1].copy()
    for row in range(similarity.shape[0]):
        line = similarity[row]
        if not _any_above(line, threshold):
            continue
        for q in range(count):
            value = line[q]
            for _ in range(copies):
                if not value > threshold[q]:
                    break
                _insert(best[q], entries[q], value, first_entry + row)
                threshold[q] = best[q, k - 1]


@kernel
def gather(
    best: NDArray[np.float32],
    entries: NDArray[np.int64],
    weights: NDArray[np.float32],
    labels: NDArray[np.float32],
    temperature: float,
    tile: tuple[int, int],
    rows: tuple[int, int],
    out: NDArray[np.float32],
) -> None:
    """Softmax of the kept similarities / temperature and the weighted sum of their labels.

    Args:
        best: (queries, kept) similarities, -inf where nothing was found; queries run down the columns of a strip.
        entries: (queries, kept) rows of `labels`.
        weights: (kept,) how often each place counts (copies of a frame when k is taken in each frame).
        labels: (entries, K).
        temperature: tau.
        tile: (w, number of rows) of the strip.
        rows: first row of the strip and w.
        out: (h * w, K). Changed in place.
    """
    w, height = tile
    y0 = rows[0]
    kept = best.shape[1]
    count = out.shape[1]
    share = np.empty(kept, np.float32)
    inverse = np.float32(1.0) / np.float32(temperature)
    for x in range(w):
        for dy in range(height):
            row = x * height + dy
            top = best[row].max()
            total = np.float32(0.0)
            for i in range(kept):
                share[i] = weights[i] * np.exp((best[row, i] - top) * inverse)
                total += share[i]
            cell = (y0 + dy) * w + x
            for c in range(count):
                out[cell, c] = np.float32(0.0)
            if top == -np.inf:
                out[cell, 0] = np.float32(1.0)
                continue
            for i in range(kept):
                if share[i] > 0:
                    part = share[i] / total
                    entry = entries[row, i]
                    for c in range(count):
                        out[cell, c] += part * labels[entry, c]


@kernel
def argmax_upsampled(
    soft: NDArray[np.float32],
    ys: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]],
    xs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]],
    ids: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Linear resize of (h, w, K) and argmax in one pass; only labels present at a pixel's four cells are looked at.

    `ys` and `xs` are the taps of `crwedge.core.labels.linear_taps`; `ids[c]` is the id of channel c. Ties go to the lower
    channel.
    """
    y_low, y_high, y_part = ys
    x_low, x_high, x_part = xs
    count = soft.shape[2]
    active = np.empty(count, np.int64)
    one = np.float32(1.0)
    for y in range(out.shape[0]):
        a, b, fy = y_low[y], y_high[y], y_part[y]
        last_l, last_r, n = -1, -1, 0
        for x in range(out.shape[1]):
            left, right, fx = x_low[x], x_high[x], x_part[x]
            if left != last_l or right != last_r:
                last_l, last_r, n = left, right, 0
                for c in range(count):
                    if soft[a, left, c] > 0 or soft[a, right, c] > 0 or soft[b, left, c] > 0 or soft[b, right, c] > 0:
                        active[n] = c
                        n += 1
            if n == 0:
                out[y, x] = ids[0]
            elif n == 1:
                out[y, x] = ids[active[0]]
            else:
                top, winner = np.float32(-1.0), 0
                for i in range(n):
                    c = active[i]
                    upper = soft[a, left, c] * (one - fy) + soft[b, left, c] * fy
                    lower = soft[a, right, c] * (one - fy) + soft[b, right, c] * fy
                    value = upper * (one - fx) + lower * fx
                    if value > top:
                        top, winner = value, c
                out[y, x] = ids[winner]


@kernel
def topk_signs(
    best: NDArray[np.float32],
    weights: NDArray[np.float32],
    temperature: float,
    tile: tuple[int, int],
    rows: tuple[int, int],
    entropy: NDArray[np.float32],
    support: NDArray[np.float32],
) -> None:
    """What the kept similarities say of each cell, by their softmax.

    The entropy, over its greatest possible value, says how undecided they are. The support, temperature x log of the sum of
    exp(similarity / temperature), says how alike the kept neighbours are to the cell.

    Args:
        best: (queries, kept) similarities, -inf where nothing was found; queries run down the columns of a strip.
        weights: (kept,) how often each place counts.
        temperature: tau.
        tile: (w, number of rows) of the strip.
        rows: first row of the strip and w.
        entropy: (h * w,) 0 for one neighbour alone, 1 for all alike and where there is none. Changed in place.
        support: (h * w,) -inf where there is no neighbour. Changed in place.
    """
    w, height = tile
    kept = best.shape[1]
    tau = np.float32(temperature)
    most = np.log(np.float32(max(kept, 2)))
    for x in range(w):
        for dy in range(height):
            row, cell = x * height + dy, (rows[0] + dy) * w + x
            top = best[row].max()
            if top == -np.inf:
                entropy[cell], support[cell] = np.float32(1.0), top
                continue
            total, mean = np.float32(0.0), np.float32(0.0)
            for i in range(kept):
                power = (best[row, i] - top) / tau
                share = weights[i] * np.exp(power)
                if share > 0:
                    total += share
                    mean += share * power
            entropy[cell] = (np.log(total) - mean / total) / most
            support[cell] = top + tau * np.log(total)
