"""Pictures of label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import LabelMap
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


def draw_joints(
    frame: NDArray[np.uint8], xy: NDArray[np.float64], numbers: Sequence[int] | None = None, radius: float = 3.0
) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with a disc in the palette's colours, ringed in white, on each joint that has a place.

    Args:
        frame: the picture.
        xy: (J, 2) x and y in its pixels, a whole number is a pixel's centre; NaN is not drawn.
        numbers: what the colours follow; 1 to J by default.
        radius: of the discs, in pixels.
    """
    out = frame.copy()
    height, width = frame.shape[:2]
    for number, (x, y) in zip(numbers or range(1, 1 + len(xy)), xy, strict=True):
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        left, top = max(0, math.floor(x - radius - 1)), max(0, math.floor(y - radius - 1))
        right, bottom = min(width, math.ceil(x + radius + 2)), min(height, math.ceil(y + radius + 2))
        if left >= right or top >= bottom:
            continue
        distance = np.hypot(np.arange(left, right) - x, (np.arange(top, bottom) - y)[:, None])
        patch = out[top:bottom, left:right]
        patch[distance <= radius + 1] = 255
        patch[distance <= radius] = palette()[number]
    return out


def draw(frame: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with what is followed in it: joints as discs, objects tinted."""
    if labels.joints is None:
        return overlay(frame, labels.ids)
    # Visible on a small picture, and not in the way on a large one.
    radius = max(3.0, min(frame.shape[:2]) / 120)
    return draw_joints(frame, labels.joints.xy, labels.object_ids, radius)


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
