"""Background that no context frame shows: what comes into a region from outside of it.

Everything outside the region is background, but its features are unknown. A cell that shows something from there finds no
true match: all its neighbours are poor ones, and it would take an object's label from them. So the cells at the border of what
the last frame's region held have one more neighbour, of unknown features: a background cell, as alike as the poorest matches
inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.runtime.propagation.view import View

BORDER = 2
"""Cells on each side of the last region's edge that may show what was outside of it, and all beyond."""
_POOR = 0.05
"""Share of the cells further inside whose matches are poorer than the unknown neighbour."""
_FEWEST = 16
"""Cells further inside, below which no share of them says anything."""


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
        (h, w) 0 to 1; None where the last region hid nothing.
    """
    hidden = _from_outside(view, before) <= BORDER
    if not hidden.any() or hidden.size - np.count_nonzero(hidden) < _FEWEST:
        return None
    poor = np.quantile(support[~hidden], _POOR)
    lead = np.clip((support - poor) / temperature, -30, 30)
    return np.where(hidden, 1 / (1 + np.exp(lead)), 0).astype(np.float32)


def _from_outside(view: View, before: View) -> NDArray[np.float64]:
    """(h, w) how many cells each one is away from the nearest outside `before`: 0 there, infinity where nothing is outside."""
    near = []
    for axis, full in enumerate(grid_size(*view.size)):
        first, last = before.origin[axis], before.origin[axis] + before.grid[axis]
        cells = view.origin[axis] + np.arange(view.grid[axis])
        low = cells - first + 1.0 if first > 0 else np.full(cells.shape, np.inf)
        high = last - cells + 0.0 if last < full else np.full(cells.shape, np.inf)
        near.append(np.maximum(np.minimum(low, high), 0))
    return np.asarray(np.minimum.outer(near[0], near[1]), np.float64)
