"""The check that a found object is the painted one: its mask, followed back, is the painted mask.

Each cell of the painted frame looks for its most similar cell among those of the other frame, and takes its side of the found
mask. The background of the painted frame joins the choice, except what is near the cell: in another place nothing else looks
like it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.blas import one_blas_thread
from crwedge.runtime.target_search import Known, Rows

_NEAR = 4
"""Cells, in rows and columns, within which the background of the painted frame is too near to be compared with."""
_QUERIES = 512
"""Cells that are looked up at once."""


def returned_overlap(known: Known, object_id: int, rows: Rows, inside: NDArray[np.bool_]) -> float:
    """IoU of an object's painted mask and the mask that comes back from another frame, in cells of the painted frame.

    Args:
        known: the painted frame.
        object_id: one of `known.objects`.
        rows: (n, C) features of the other frame, of any cells.
        inside: (n,) which of them the found mask holds.
    """
    painted = np.zeros(len(known.rows), np.bool_)
    painted[known.objects[object_id].cells] = True
    returned = returned_mask(known, object_id, rows, inside)
    return float((returned & painted).sum() / (returned | painted).sum())


def returned_mask(known: Known, object_id: int, rows: Rows, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h * w,) cells of the painted frame whose most similar cell is inside the found mask; see `returned_overlap`."""
    returned = np.zeros(len(known.rows), np.bool_)
    if not inside.any():
        return returned
    own = known.objects[object_id].background
    own_at, own_rows = np.divmod(own, known.grid[1]), known.rows[own]
    for low in range(0, len(returned), _QUERIES):
        cells = np.arange(low, min(low + _QUERIES, len(returned)))
        asked = known.rows[cells]
        with one_blas_thread():
            similarity, rival = asked @ rows.T, asked @ own_rows.T
        at = np.divmod(cells, known.grid[1])
        near = np.maximum(*(np.abs(a[:, None] - b) for a, b in zip(at, own_at, strict=True))) <= _NEAR
        rival[near] = -np.inf
        outside = np.maximum(similarity[:, ~inside].max(axis=1, initial=-np.inf), rival.max(axis=1, initial=-np.inf))
        returned[cells] = similarity[:, inside].max(axis=1) > outside
    return returned
