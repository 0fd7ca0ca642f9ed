"""The shape of the neighbourhood that a cell looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings

_BEYOND = 65_536
"""Cells; no frame is larger, and a larger radius means every cell."""


def is_global(settings: PropagationSettings, pinned: bool) -> bool:
    """Whether a context frame is searched everywhere rather than in the neighbourhood."""
    return not settings.local or (pinned and settings.first_frame == "global")


def half_heights(settings: PropagationSettings) -> NDArray[np.int64]:
    """The neighbourhood, column by column: element |dx| is the largest |dy| inside it.

    A disc holds the distances strictly below the radius, a square those up to it. Empty where the search is everywhere.
    """
    if not settings.local:
        return np.zeros(0, np.int64)
    r = min(settings.radius, _BEYOND)
    if settings.window == "square":
        return np.full(int(r) + 1, int(r), np.int64)
    reach = int(np.ceil(r)) - 1
    return np.asarray(np.ceil(np.sqrt(r * r - np.arange(reach + 1) ** 2)) - 1, np.int64)


def compared_pairs(settings: PropagationSettings, grid: tuple[int, int], pinned: bool) -> int:
    """Pairs of a cell and a cell of one context frame that are compared, where both frames cover the same `grid` = (h, w)."""
    h, w = grid
    if is_global(settings, pinned):
        return (h * w) ** 2
    # Pairs that are dx columns and dy rows apart: a neighbourhood is cut off at the grid's edge.
    rows = [sum(max(0, h - abs(dy)) for dy in range(-half, half + 1)) for half in half_heights(settings).tolist()]
    return sum((1 if dx == 0 else 2) * max(0, w - dx) * pairs for dx, pairs in enumerate(rows))
