"""How far each object's labels can be trusted, without knowing the truth.

Two signs are read from what the tracker has anyway. The entropy of an object's top-k weights says how undecided its cells
were. The cycle error is the training objective itself, at work: walk from the object in the pinned frame to the present
frame and ask for its label there, and from the present object back to the pinned frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.blas import one_blas_thread

_MOST_CELLS = 48
"""Cells of an object that walk; more tell no more."""
_FEWEST_CELLS = 8
_FEW_OBJECTS = 10
"""Up to so many objects, as many cells of each walk as there may be."""

Signs = dict[str, float]
SIGNS = ("topk_entropy", "forward_cycle", "backward_cycle", "margin")


@dataclass(frozen=True)
class Calibration:
    """Expected overlap J = the logistic function of bias + the sum of weight x sign."""

    bias: float
    weights: Mapping[str, float]
    made_with: str
    """The encoder and the footage that it was fitted on; others shift it."""

    def __call__(self, signs: Signs) -> float:
        """0 to 1."""
        power = self.bias + sum(weight * signs[name] for name, weight in self.weights.items())
        return float(1 / (1 + np.exp(-np.clip(power, -30, 30))))


CALIBRATION = Calibration(
    bias=-2.654,
    weights={"topk_entropy": -0.165, "forward_cycle": 0.622, "backward_cycle": 2.394, "margin": 1.709},
    made_with="the shipped encoder walk-r18 (11,301 steps), eleven sequences, 12 frames each at every fifth, 240x432",
)


def object_signs(
    features: NDArray[np.float32],
    soft: NDArray[np.float32],
    entropy: NDArray[np.float32] | None,
    pinned: NDArray[np.float32] | NDArray[np.float16],
    pinned_labels: NDArray[np.float32],
    settings: PropagationSettings,
) -> list[Signs | None]:
    """The signs of each object.

    Args:
        features: (C, h, w) of the present frame, unit length over C.
        soft: (K, h, w) its soft labels.
        entropy: (h * w,) entropy of the top-k weights, or None.
        pinned: (h', w', C) features of a frame whose labels came from outside.
        pinned_labels: (h' * w', K) its soft labels.
        settings: k and temperature of the walk.

    Returns:
        For each object, in order: `topk_entropy` (0 to 1), `forward_cycle` and `backward_cycle` (share of the walk that
        ends on the object), `margin` (how far its soft label leads), each 0 to 1; None where the pinned frame does not
        show the object.
    """
    c, h, w = features.shape
    now = np.ascontiguousarray(features.reshape(c, h * w).T, np.float32)
    then = np.ascontiguousarray(pinned.reshape(-1, c), np.float32)
    labels_now = np.ascontiguousarray(soft.reshape(soft.shape[0], -1).T)
    winner_now, winner_then = labels_now.argmax(axis=1), pinned_labels.argmax(axis=1)
    second = np.partition(labels_now, -2, axis=1)[:, -2] if labels_now.shape[1] > 1 else np.zeros(h * w)
    found: list[Signs | None] = []
    # With many objects fewer cells of each walk, so that the time does not grow with their number.
    most = max(_FEWEST_CELLS, _MOST_CELLS * _FEW_OBJECTS // max(_FEW_OBJECTS, labels_now.shape[1] - 1))
    for channel in range(1, labels_now.shape[1]):
        there, here = (_some(np.flatnonzero(winner == channel), most) for winner in (winner_then, winner_now))
        if not there.size:
            found.append(None)
            continue
        if not here.size:
            found.append({"topk_entropy": 1.0, "forward_cycle": 0.0, "backward_cycle": 0.0, "margin": 0.0})
            continue
        backward = _walk(then[there], now, labels_now[:, channel], settings)
        forward = _walk(now[here], then, pinned_labels[:, channel], settings)
        lead = labels_now[here, channel] - second[here]
        found.append(
            {
                "topk_entropy": float(entropy[here].mean()) if entropy is not None else 0.5,
                "forward_cycle": float(forward.mean()),
                "backward_cycle": float(backward.mean()),
                "margin": float(lead.mean()),
            }
        )
    return found


def _some(cells: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of them, evenly spread."""
    return cells if cells.size <= most else cells[np.linspace(0, cells.size - 1, most).astype(np.int64)]


def _walk(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    labels: NDArray[np.float32],
    settings: PropagationSettings,
) -> NDArray[np.float32]:
    """(n,) label that the queries (n, C) find among the keys (h * w, C): top-k, softmax, weighted sum of (h * w,)."""
    with one_blas_thread():
        similarity = keys @ queries.T
    best = np.full((queries.shape[0], settings.topk), -np.inf, np.float32)
    entries = np.zeros(best.shape, np.int64)
    kernels.scan_all(similarity, 0, 1, best, entries)
    weights = np.exp((best - best[:, :1]) / np.float32(settings.temperature))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * labels[entries]).sum(axis=1), np.float32)
