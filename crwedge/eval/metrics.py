"""The DAVIS measures of a frame, and their statistics over a sequence.

J is the intersection over union of two regions, F the F-measure of their boundaries. Both equal those of the official toolkit
(see `docs/evaluation.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.eval.boundary import (
    INTERSECTION,
    PREDICTED,
    PREDICTED_EDGE,
    PREDICTED_MATCHED,
    TRUE,
    TRUE_EDGE,
    TRUE_MATCHED,
    count_frame,
)

RECALL_THRESHOLD = 0.5
"""A frame counts as recalled when its value is above this."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of the values of a sequence."""

    mean: float
    recall: float
    """Share of the frames above 0.5."""
    decay: float
    """Mean of the first quarter minus mean of the last."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"mean": self.mean, "recall": self.recall, "decay": self.decay}


def jaccard(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """J: intersection over union of two regions (H, W); 1 where both are empty."""
    return float(frame_scores(np.asarray(predicted, np.uint8), np.asarray(truth, np.uint8), (1,))[0][0])


def boundary_f(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], reach: int | None = None) -> float:
    """F: F-measure of the boundaries of two regions (H, W), matched within `reach` pixels (None: that of DAVIS)."""
    return float(frame_scores(np.asarray(predicted, np.uint8), np.asarray(truth, np.uint8), (1,), reach)[1][0])


def frame_scores(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], object_ids: tuple[int, ...], reach: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """J and F of each object of one frame.

    Args:
        predicted: (H, W) ids.
        truth: (H, W) ids of the same size. An id that is in neither map scores 1.
        object_ids: objects to score; other ids and void count as background.
        reach: radius of the matching disc in pixels; None: that of DAVIS.

    Returns:
        J (objects,) and F (objects,).
    """
    counts = count_frame(predicted, truth, object_ids, reach).astype(np.float64)
    union = counts[:, PREDICTED] + counts[:, TRUE] - counts[:, INTERSECTION]
    region = np.where(union > 0, counts[:, INTERSECTION] / np.maximum(union, 1), 1.0)
    edges_p, edges_t = counts[:, PREDICTED_EDGE], counts[:, TRUE_EDGE]
    # Without boundary pixels precision (or recall) is 1; F is then 1 only if both sides have none.
    precision = np.where(edges_p > 0, counts[:, PREDICTED_MATCHED] / np.maximum(edges_p, 1), 1.0)
    recall = np.where(edges_t > 0, counts[:, TRUE_MATCHED] / np.maximum(edges_t, 1), 1.0)
    total = precision + recall
    boundary = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return region, boundary


def statistics(values: Sequence[float | None] | NDArray[np.float64]) -> Statistics:
    """Mean, recall and decay of one object's values; None and NaN are frames that were not scored.

    The quarters are those of the official toolkit: five rounded marks from the first scored frame to the last; neighbouring
    quarters share the frame at a mark.
    """
    figures = np.array([np.nan if value is None else value for value in values], np.float64)
    scored = figures[~np.isnan(figures)]
    if scored.size == 0:
        return Statistics(float("nan"), float("nan"), float("nan"))
    marks = (np.round(np.linspace(1, scored.size, 5) + 1e-10) - 1).astype(np.int64)
    decay = scored[marks[0] : marks[1] + 1].mean() - scored[marks[3] : marks[4] + 1].mean()
    return Statistics(float(scored.mean()), float((scored > RECALL_THRESHOLD).mean()), float(decay))


def mean_statistics(parts: Sequence[Statistics]) -> Statistics:
    """The mean of several objects' statistics, without objects that have no scored frame."""
    table = np.array([[part.mean, part.recall, part.decay] for part in parts], np.float64).reshape(-1, 3)
    table = table[~np.isnan(table).any(axis=1)]
    if not len(table):
        return Statistics(float("nan"), float("nan"), float("nan"))
    mean, recall, decay = (float(column.mean()) for column in table.T)
    return Statistics(mean, recall, decay)
