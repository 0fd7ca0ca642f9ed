"""Does one engine do what another does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Parity:
    """Errors of unit-length features against a reference, over all cells of all frames."""

    max_error: float
    """Largest difference of a component."""
    mean_error: float
    min_cosine: float
    """Of the worst cell."""
    passed: bool

    def __str__(self) -> str:
        """One line."""
        verdict = "passed" if self.passed else "FAILED"
        return f"{verdict}: largest error {self.max_error:.1e}, mean {self.mean_error:.1e}, worst cosine {self.min_cosine:.6f}"

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def compare_features(
    reference: Sequence[NDArray[np.float32]],
    got: Sequence[NDArray[np.float32]],
    *,
    max_error: float = 2e-3,
    min_cosine: float = 0.9999,
) -> Parity:
    """Compare features (C, h, w) frame by frame; a wrong shape or a value that is not finite fails."""
    if len(reference) != len(got) or any(a.shape != b.shape for a, b in zip(reference, got, strict=True)):
        return Parity(float("inf"), float("inf"), -1.0, False)
    worst, total, count, cosine = 0.0, 0.0, 0, 1.0
    for a, b in zip(reference, got, strict=True):
        if not np.isfinite(b).all():
            return Parity(float("inf"), float("inf"), -1.0, False)
        error = np.abs(a - b)
        worst = max(worst, float(error.max()))
        total, count = total + float(error.sum()), count + error.size
        cosine = min(cosine, float((a * b).sum(axis=0).min()))
    return Parity(worst, total / count, cosine, worst <= max_error and cosine >= min_cosine)
