"""Compare two engines on the same frames: features, neighbours, label maps and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import region_iou
from crwedge.core.masks import object_ids
from crwedge.core.settings import PropagationSettings
from crwedge.export.test_clips import ReferenceClip
from crwedge.runtime.propagation.propagate import propagate_masks

Features = Sequence[NDArray[np.float32]]
Scorer = Callable[[NDArray[np.uint8], NDArray[np.uint8], tuple[int, ...]], tuple[NDArray[Any], NDArray[Any]]]
"""(predicted (H, W), truth (H, W), ids) -> J and F of each object, such as `crwedge.eval.metrics.frame_scores`."""

ENOUGH_STEPS = 10
"""Scores over fewer steps of propagation are reported, but not checked."""


@dataclass(frozen=True)
class Tolerances:
    """Largest differences that are accepted of a precision."""

    max_error: float
    """Of a feature component."""
    min_cosine: float
    """Of the worst cell."""
    mean_cosine: float
    topk_agreement: float
    label_iou: float
    score_drop: float
    """Points of J (of J&F where F is computed)."""


TOLERANCES = {
    "float32": Tolerances(2e-3, 0.9999, 0.99999, 0.97, 0.98, 0.2),
    "float16": Tolerances(1e-2, 0.999, 0.9999, 0.95, 0.97, 0.2),
    # Random weights give 0.985 and 0.95: their features are far more alike than trained ones.
    "int8": Tolerances(0.3, 0.9, 0.97, 0.7, 0.85, 1.0),
}


@dataclass(frozen=True)
class Parity:
    """Differences between a reference and a candidate."""

    reference: str
    candidate: str
    max_error: float
    """Largest difference of a component, over all cells of all frames."""
    mean_error: float
    min_cosine: float
    """Of the worst cell."""
    mean_cosine: float
    topk_agreement: float | None = None
    """Share of the k nearest neighbours in the previous frame that both agree on."""
    label_iou: float | None = None
    """IoU of the label maps after the last step of propagation, mean over objects."""
    steps: int = 0
    """Steps of propagation."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """J (and F) in points of `reference` and `candidate`, where the truth is known."""
    frames: str = ""
    """Name of the clip."""
    tolerances: Tolerances = TOLERANCES["float32"]

    @property
    def score_drop(self) -> float | None:
        """Points that the candidate loses against the reference: of J&F where F is computed, else of J."""
        if not self.scores:
            return None
        points = {who: sum(values.values()) / len(values) for who, values in self.scores.items()}
        return points["reference"] - points["candidate"]

    @property
    def passed(self) -> bool:
        """Whether every measured value is within its tolerance."""
        return all(ok for *_, ok in self.rows())

    def rows(self) -> list[tuple[str, float, str, bool]]:
        """Name, value, tolerance as text and whether it is met, of every measurement."""
        tolerances = self.tolerances
        rows = [
            ("largest error", self.max_error, f"<= {tolerances.max_error:g}", self.max_error <= tolerances.max_error),
            ("mean error", self.mean_error, "", bool(np.isfinite(self.mean_error))),
            (
                "worst cosine",
                self.min_cosine,
                f">= {tolerances.min_cosine:g}",
                self.min_cosine >= tolerances.min_cosine,
            ),
            (
                "mean cosine",
                self.mean_cosine,
                f">= {tolerances.mean_cosine:g}",
                self.mean_cosine >= tolerances.mean_cosine,
            ),
        ]
        for name, value, bar in (
            ("top-k agreement", self.topk_agreement, tolerances.topk_agreement),
            (f"label IoU after {self.steps} steps", self.label_iou, tolerances.label_iou),
        ):
            if value is not None:
                rows.append((name, value, f">= {bar:g}", value >= bar))
        for name in self.scores.get("reference", {}):
            rows.append((f"{name}, reference", self.scores["reference"][name], "", True))
            rows.append((f"{name}, candidate", self.scores["candidate"][name], "", True))
        if (drop := self.score_drop) is not None:
            # In a few frames one wrong cell is a point.
            enough = self.steps > ENOUGH_STEPS
            words = f"<= {tolerances.score_drop:g}" if enough else ""
            rows.append(("points lost", drop, words, not enough or drop <= tolerances.score_drop))
        return rows

    def table(self) -> str:
        """All measurements as lines of text."""
        lines = [f"parity of {self.candidate} with {self.reference} on {self.frames}"]
        for name, value, bar, ok in self.rows():
            lines.append(
                f"  {name:<24} {value:>12.6g}  {bar:<12} {'' if not bar else 'ok' if ok else 'FAILED'}".rstrip()
            )
        return "\n".join([*lines, f"  {'passed' if self.passed else 'FAILED'}"])

    def __str__(self) -> str:
        """One line."""
        verdict = "passed" if self.passed else "FAILED"
        error = f"largest error {self.max_error:.1e}, mean {self.mean_error:.1e}"
        return f"{verdict}: {error}, worst cosine {self.min_cosine:.6f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to six digits."""
        values = {name: _short(value) for name, value in asdict(self).items()}
        return {**values, "score_drop": _short(self.score_drop), "passed": self.passed}


class ParityError(CrwedgeError):
    """A difference is above its tolerance; `parity` has all measurements."""

    def __init__(self, message: str, parity: Parity) -> None:
        super().__init__(message)
        self.parity = parity


def compare_features(
    reference: Features,
    got: Features,
    tolerances: Tolerances = TOLERANCES["float32"],
    names: tuple[str, str] = ("reference", "candidate"),
) -> Parity:
    """Compare features (C, h, w) frame by frame. Different shapes and values that are not finite fail."""
    bad = Parity(*names, float("inf"), float("inf"), -1.0, -1.0, tolerances=tolerances)
    if len(reference) != len(got) or any(a.shape != b.shape for a, b in zip(reference, got, strict=True)):
        return bad
    worst, total, count = 0.0, 0.0, 0
    cosines = []
    for a, b in zip(reference, got, strict=True):
        if not np.isfinite(b).all():
            return bad
        error = np.abs(a - b)
        worst = max(worst, float(error.max()))
        total, count = total + float(error.sum(dtype=np.float64)), count + error.size
        cosines.append((a.astype(np.float64) * b).sum(axis=0).ravel())
    cosine = np.concatenate(cosines)
    return Parity(*names, worst, total / count, float(cosine.min()), float(cosine.mean()), tolerances=tolerances)


def compare(
    reference: Features,
    got: Features,
    clip: ReferenceClip,
    settings: PropagationSettings,
    *,
    tolerances: Tolerances,
    names: tuple[str, str] = ("reference", "candidate"),
    scorer: Scorer | None = None,
) -> Parity:
    """Compare features, neighbours, label maps, and J (J&F with a scorer) where the truth is known.

    Args:
        reference: features (C, h, w) of each frame.
        got: features of the candidate.
        clip: the frames.
        settings: the propagation protocol.
        tolerances: see `Tolerances`.
        names: of reference and candidate.
        scorer: computes J and F of a frame.
    """
    parity = compare_features(reference, got, tolerances, names)
    values = {**parity.__dict__, "frames": clip.name}
    if not np.isfinite(parity.max_error) or clip.mask is None or len(clip.frames) < 2:
        return Parity(**values)
    pairs = range(1, len(reference), max(1, len(reference) // 4))
    agreements = [topk_agreement(reference[t - 1 : t + 1], got[t - 1 : t + 1], settings) for t in pairs]
    values["topk_agreement"] = float(np.mean(agreements))
    maps = [list(propagate_masks(features, clip.mask, settings=settings)) for features in (reference, got)]
    ids = object_ids(clip.mask)
    values["steps"] = len(reference) - 1
    values["label_iou"] = float(region_iou(maps[1][-1], maps[0][-1], ids).mean())
    if clip.truth is not None and len(clip.truth) > 2:
        values["scores"] = {
            who: _score(labels, clip.truth, ids, scorer)
            for who, labels in zip(("reference", "candidate"), maps, strict=True)
        }
    return Parity(**values)


def topk_agreement(a: Features, b: Features, settings: PropagationSettings, cells: int = 256) -> float:
    """Share of the k nearest cells of the previous frame, within the radius, that two encoders agree on.

    Args:
        a: features (C, h, w) of two consecutive frames.
        b: features of the same frames from the other encoder.
        settings: k and the radius.
        cells: number of target cells, spread evenly.
    """
    _, h, w = a[0].shape
    chosen = np.linspace(0, h * w - 1, min(cells, h * w)).astype(np.int64)
    y, x = np.divmod(np.arange(h * w), w)
    outside = (y[chosen, None] - y) ** 2 + (x[chosen, None] - x) ** 2 >= settings.radius**2
    k = min(settings.topk, int((~outside).sum(axis=1).min()))
    best = []
    for before, now in (a, b):
        similarity = now.reshape(len(now), -1)[:, chosen].T @ before.reshape(len(before), -1)
        similarity[outside] = -np.inf
        best.append(np.argpartition(-similarity, k - 1, axis=1)[:, :k])
    shared = (best[0][:, :, None] == best[1][:, None, :]).any(axis=2)
    return float(shared.mean())


def _score(
    labels: Sequence[NDArray[np.uint8]],
    truth: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    ids: tuple[int, ...],
    scorer: Scorer | None,
) -> dict[str, float]:
    """Points, mean over objects and frames; as in DAVIS the first and the last frame are not scored."""
    pairs = list(zip(labels, truth, strict=True))[1:-1]
    if scorer is None:
        return {"J": float(100 * np.mean([region_iou(got, true, ids).mean() for got, true in pairs]))}
    scores = [scorer(got, true, ids) for got, true in pairs]
    return {name: float(100 * np.mean([score[n].mean() for score in scores])) for n, name in enumerate(("J", "F"))}


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
