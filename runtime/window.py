"""The shape of the neighbourhood that a cell looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings


def half_heights(settings: PropagationSettings) -> NDArray[np.int64]:
    """The neighbourhood, column by column: element |dx| is the largest |dy| inside it.

    A disc holds the distances strictly below the radius, a square those up to it.
    """
    r = settings.radius
    if settings.window == "square":
        return np.full(int(r) + 1, int(r), np.int64)
    reach = int(np.ceil(r)) - 1
    return np.array([int(np.ceil(np.sqrt(r * r - dx * dx))) - 1 for dx in range(reach + 1)], np.int64)
