"""Background that no context frame shows: cells that enter a region from outside.

Everything outside the region is background, but its features are unknown. A cell that shows something from there finds no
true match: all its neighbours are poor ones, and it would take an object's label from them. So the cells that the last frame's
region did not hold have one more neighbour, of unknown features: a background cell, as alike as the poorest matches inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.view import View

_POOR = 0.02
"""Share of the cells inside the last region whose matches are poorer than the unknown neighbour."""
_FEWEST = 16
"""Cells inside the last region, below which no share of them says anything."""


def unseen_background(
    support: NDArray[np.float32], view: View, before: View, temperature: float
) -> NDArray[np.float32] | None:
    """The weight of the unknown background neighbour in each cell.

    Args:
        support: (h, w) temperature x log of the sum of exp(similarity / temperature) of each cell's neighbours.
        view: what it covers.
        before: what the last frame's region covered, at the same scale.
        temperature: of the softmax.

    Returns:
        (h, w) 0 to 1; None where every cell was in the last region, or hardly any.
    """
    inside = np.zeros(view.grid, np.bool_)
    (y, x), (top, left) = view.origin, before.origin
    inside[max(0, top - y) : max(0, top + before.grid[0] - y), max(0, left - x) : max(0, left + before.grid[1] - x)] = (
        True
    )
    if inside.all() or np.count_nonzero(inside) < _FEWEST:
        return None
    poor = np.quantile(support[inside], _POOR)
    lead = np.clip((support - poor) / temperature, -30, 30)
    return np.where(inside, 0, 1 / (1 + np.exp(lead))).astype(np.float32)
