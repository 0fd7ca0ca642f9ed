"""PCK: share of joints within a distance of the truth, by the protocol of JHMDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Distances in shares of the person's size."""
SIZE_SHARE = 0.6
"""The person's size is this share of the diagonal of the box around the true joints."""


def person_size(joints: NDArray[np.float64]) -> float:
    """0.6 of the diagonal of the box around the visible joints (J, 2); NaN without two different ones."""
    visible = joints[np.isfinite(joints).all(axis=1)]
    if len(visible) < 2:
        return float("nan")
    size = SIZE_SHARE * float(np.linalg.norm(visible.max(axis=0) - visible.min(axis=0)))
    return size if size > 0 else float("nan")


def joint_errors(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each joint in shares of the person's size.

    Args:
        predicted: (J, 2) x, y; NaN for a joint that was not found.
        truth: (J, 2) x, y; NaN for a joint that is not visible.

    Returns:
        (J,) shares; infinite where a visible joint was not found, NaN where a joint is not visible.
    """
    distance = np.linalg.norm(predicted - truth, axis=1) / person_size(truth)
    visible = np.isfinite(truth).all(axis=1)
    missed = visible & ~np.isfinite(predicted).all(axis=1)
    return np.where(missed, np.inf, np.where(visible, distance, np.nan))


@dataclass(frozen=True)
class PoseScore:
    """Errors of a clip: one row a scored frame."""

    names: tuple[str, ...]
    frames: tuple[int, ...]
    """(T,) numbers of the scored frames."""
    errors: NDArray[np.float64]
    """(T, J) distances in shares of the person's size; NaN where a joint was not visible."""

    def pck(self) -> dict[str, float]:
        """Share of the visible joints within each threshold: {"0.1": ..., "0.5": ...}."""
        return pck(self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null is a joint that was not visible, -1 one that was not found."""
        rows = [[None if np.isnan(e) else float(e) if np.isfinite(e) else -1.0 for e in row] for row in self.errors]
        by_joint = {name: pck(self.errors[:, i : i + 1]) for i, name in enumerate(self.names)}
        return {"PCK": self.pck(), "frames": list(self.frames), "joints": by_joint, "errors": rows}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PoseScore:
        """The inverse of `to_dict`."""
        rows = [[np.nan if e is None else np.inf if e < 0 else e for e in row] for row in values["errors"]]
        table = np.array(rows, np.float64).reshape(len(rows), len(values["joints"]))
        return cls(tuple(values["joints"]), tuple(values["frames"]), table)


def pck(errors: NDArray[np.float64]) -> dict[str, float]:
    """Share of errors (any shape, NaN left out) at or below each threshold: all joints of all frames together."""
    known = errors[~np.isnan(errors)]
    return {str(t): float((known <= t).mean()) if known.size else float("nan") for t in THRESHOLDS}


class PoseScorer:
    """Scores a clip frame by frame; do not feed the first frame, whose joints are given.

    Args:
        names: one name a joint.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._frames: list[int] = []
        self._errors: list[NDArray[np.float64]] = []

    def feed_frame(self, predicted: NDArray[np.float64], truth: NDArray[np.float64], index: int) -> None:
        """Take the joints (J, 2) of frame `index`. MaskError when there are not as many as names."""
        for joints in (predicted, truth):
            if joints.shape != (len(self._names), 2):
                raise MaskError(f"joints of frame {index} are {joints.shape}, not ({len(self._names)}, 2)")
        self._frames.append(index)
        self._errors.append(joint_errors(predicted, truth))

    def conclude(self) -> PoseScore:
        """The errors of all frames fed so far."""
        table = np.array(self._errors, np.float64).reshape(len(self._frames), len(self._names))
        return PoseScore(self._names, tuple(self._frames), table)
