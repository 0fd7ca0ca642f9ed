"""Labels that are finer than features: s x s labels in each cell, which propagate together.

A cell takes the labels of the cells it resembles, each part of it from the same part of them. So a border inside a cell
survives, at the cost of a few more numbers for each cell; the features and the search are those of s = 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def packed(fine: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """Labels (K, h * s, w * s) -> (K * s * s, h, w): the parts of a cell become channels, those of one label side by side."""
    if s == 1:
        return fine
    count, height, width = fine.shape
    parts = fine.reshape(count, height // s, s, width // s, s).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(parts.reshape(count * s * s, height // s, width // s))


def label_rows(fine: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """Labels (K, h * s, w * s) -> (h * w, K * s * s), as a context stores them."""
    channels = packed(fine, s)
    return np.ascontiguousarray(channels.reshape(len(channels), -1).T, np.float32)


def row_means(rows: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """Rows (h * w, K * s * s) of `label_rows` -> (h * w, K), the mean over the parts of each cell."""
    if s == 1:
        return rows
    weights = np.full(s * s, 1 / s**2, np.float32)
    return np.asarray(rows.reshape(-1, s * s) @ weights, np.float32).reshape(len(rows), -1)


def unpacked(channels: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """The inverse of `packed`."""
    if s == 1:
        return channels
    count, (height, width) = channels.shape[0] // (s * s), channels.shape[1:]
    parts = channels.reshape(count, s, s, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(parts.reshape(count, height * s, width * s))


def cell_means(fine: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """Labels (K, h * s, w * s) -> (K, h, w), the mean over the parts of each cell."""
    if s == 1:
        return fine
    # Sums of slices: a mean over short axes is many times slower.
    total = fine[:, ::s, ::s].copy()
    for part in range(1, s * s):
        total += fine[:, part // s :: s, part % s :: s]
    total *= np.float32(1 / s**2)
    return total


def repeated(soft: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """Maps (..., h, w) -> (..., h * s, w * s): every part of a cell has the value of the cell."""
    return soft if s == 1 else np.repeat(np.repeat(soft, s, axis=-2), s, axis=-1)


def packed_change(change: NDArray[np.float32], s: int) -> NDArray[np.float32]:
    """A change of labels (K, K') -> that of their packed channels (K * s * s, K' * s * s)."""
    return change if s == 1 else np.kron(change, np.eye(s * s, dtype=np.float32))
