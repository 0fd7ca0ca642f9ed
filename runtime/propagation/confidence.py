"""Confidence of each object: an estimate of its overlap with the truth.

Two kinds of signs need no extra encoding. The entropy of an object's top-k weights says how undecided its cells
were. The cycle error is the training objective: walk from the object in the pinned frame to the present
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
from crwedge.runtime.propagation.components import leaders

_MOST_CELLS = 48
"""Cells of an object that walk; more do not change the estimate."""
_FEWEST_CELLS = 6
_FEW_OBJECTS = 5
"""Up to this number of objects, each walks with the full number of cells."""

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
    made_with="walk-r18 after 11,301 steps, eleven sequences, 12 frames each at every fifth, 240x432",
)


def object_signs(
    features: NDArray[np.float32],
    soft: NDArray[np.float32],
    entropy: NDArray[np.float32] | None,
    pinned: NDArray[np.float32] | NDArray[np.float16],
    pinned_labels: NDArray[np.float32],
    settings: PropagationSettings,
) -> list[Signs | None]:
    """The signs of each object. All objects walk together.

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
    objects = labels_now.shape[1] - 1
    winner_now, lead = leaders(labels_now)
    winner_then, _ = leaders(np.ascontiguousarray(pinned_labels))
    # With many objects fewer cells of each walk, so that the time does not grow with their number.
    most = max(_FEWEST_CELLS, _MOST_CELLS * _FEW_OBJECTS // max(_FEW_OBJECTS, objects))
    there, here = _some(winner_then, objects, most), _some(winner_now, objects, most)
    backward = _mean(_walk(then[there.cells], now, labels_now, there.channels, settings), there, objects)
    forward = _mean(_walk(now[here.cells], then, pinned_labels, here.channels, settings), here, objects)
    margin = _mean(lead[here.cells], here, objects)
    undecided = _mean(entropy[here.cells], here, objects) if entropy is not None else np.full(objects, 0.5)
    found: list[Signs | None] = []
    for channel in range(1, objects + 1):
        if not (there.channels == channel).any():
            found.append(None)
        elif not (here.channels == channel).any():
            found.append({"topk_entropy": 1.0, "forward_cycle": 0.0, "backward_cycle": 0.0, "margin": 0.0})
        else:
            signs = undecided, forward, backward, margin
            found.append({name: float(values[channel - 1]) for name, values in zip(SIGNS, signs, strict=True)})
    return found


@dataclass(frozen=True)
class _Cells:
    """Cells of all objects, one object after the other."""

    cells: NDArray[np.int64]
    channels: NDArray[np.int64]
    """The object of each."""


def _some(winner: NDArray[np.int64], objects: int, most: int) -> _Cells:
    """At most so many cells of each object, evenly spread; `winner` is the leading channel of each cell."""
    order = np.argsort(winner, kind="stable")
    counts = np.bincount(winner, minlength=objects + 1)
    ends = np.cumsum(counts)
    picked = [
        order[end - count + (np.linspace(0, count - 1, most).astype(np.int64) if count > most else np.arange(count))]
        for end, count in zip(ends[1:].tolist(), counts[1:].tolist(), strict=True)
    ]
    taken = np.minimum(counts[1:], most)
    return _Cells(np.concatenate([*picked, np.zeros(0, np.int64)]), np.repeat(np.arange(1, objects + 1), taken))


def _mean(values: NDArray[np.float32], cells: _Cells, objects: int) -> NDArray[np.float64]:
    """The mean over the cells of each object; 0 where it has none."""
    sums = np.bincount(cells.channels - 1, values, objects)
    return np.asarray(sums / np.maximum(np.bincount(cells.channels - 1, minlength=objects), 1), np.float64)


def _walk(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    labels: NDArray[np.float32],
    channels: NDArray[np.int64],
    settings: PropagationSettings,
) -> NDArray[np.float32]:
    """(n,) the label that each query finds among the keys: top-k, softmax, weighted sum.

    Args:
        queries: (n, C), of all objects: one product and one scan do them all.
        keys: (h * w, C).
        labels: (h * w, K).
        channels: (n,) whose label is asked for.
        settings: k and temperature.
    """
    with one_blas_thread():
        similarity = keys @ queries.T
    best = np.full((queries.shape[0], settings.topk), -np.inf, np.float32)
    entries = np.zeros(best.shape, np.int64)
    kernels.scan_all(similarity, 0, 1, best, entries)
    weights = np.exp((best - best[:, :1]) / np.float32(settings.temperature))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * labels[entries, channels[:, None]]).sum(axis=1), np.float32)
