"""Pictures of label maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.masks import palette


def overlay(frame: NDArray[np.uint8], ids: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with its objects tinted in the palette's colours and outlined in white."""
    out = frame.copy()
    inside = ids > 0
    if inside.any():
        tint = palette()[ids[inside]].astype(np.float32)
        out[inside] = (frame[inside] * (1 - opacity) + tint * opacity).astype(np.uint8)
    edge = np.zeros(ids.shape, np.bool_)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    out[edge] = 255
    return out


def sheet(rows: list[list[NDArray[np.uint8]]], gap: int = 4) -> NDArray[np.uint8]:
    """Pictures of one size, RGB (H, W, 3), in rows on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    size = (len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3)
    out = np.full(size, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = gap + i * (height + gap), gap + j * (width + gap)
            out[y : y + height, x : x + width] = picture
    return out
