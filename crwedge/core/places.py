"""Where objects are in a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.mask_pictures import VOID


@dataclass(frozen=True)
class ObjectPlace:
    """Where an object is, in pixels of the frame."""

    box: tuple[int, int, int, int]
    """x and y of the top left pixel, width, height."""
    area: int
    """Pixels."""
    centre: tuple[float, float]
    """x and y of the mean of its pixels; a whole number is a pixel's centre."""


def object_places(ids: NDArray[np.uint8]) -> dict[int, ObjectPlace]:
    """The place of each object that appears in `ids` (H, W)."""
    found = {}
    for i in np.flatnonzero(np.bincount(ids.reshape(-1), minlength=256)):
        if i in (0, VOID):
            continue
        mask = ids == i
        rows, columns = mask.sum(axis=1), mask.sum(axis=0)
        ys, xs = np.flatnonzero(rows), np.flatnonzero(columns)
        area = int(rows.sum())
        centre = float(columns @ np.arange(len(columns)) / area), float(rows @ np.arange(len(rows)) / area)
        box = int(xs[0]), int(ys[0]), int(xs[-1] - xs[0] + 1), int(ys[-1] - ys[0] + 1)
        found[int(i)] = ObjectPlace(box, area, centre)
    return found
