"""Does one engine do what another does? Two engines, the same frames, a verdict."""

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
"""Scores over fewer steps of propagation are shown, not judged."""


@dataclass(frozen=True)
class Tolerances:
    """What a precision must reach."""

    max_error: float
    """Largest difference of a component."""
    min_cosine: float
    """Of the worst cell."""
    mean_cosine: float
    topk_agreement: float
    label_iou: float
    score_drop: float
    """Points of J (of J&F where F is known) that may be lost."""


TOLERANCES = {
    "float32": Tolerances(2e-3, 0.9999, 0.99999, 0.97, 0.98, 0.2),
    "float16": Tolerances(1e-2, 0.999, 0.9999, 0.95, 0.97, 0.2),
    # Random weights, whose features are far more alike than trained ones, come to 0.985 and 0.95.
    "int8": Tolerances(0.3, 0.9, 0.97, 0.7, 0.85, 1.0),
}


@dataclass(frozen=True)
class Parity:
    """How far a candidate's features are from the reference's, and what comes of it."""

    reference: str
    candidate: str
    max_error: float
    """Largest difference of a component, over all cells of all frames."""
    mean_error: float
    min_cosine: float
    """Of the worst cell."""
    mean_cosine: float
    topk_agreement: float | None = None
    """Share of a cell's nearest neighbours in the frame before that both find."""
    label_iou: float | None = None
    """Overlap of both label maps after the last step of propagation, averaged over the objects."""
    steps: int = 0
    """How many steps of propagation that were."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Where truth is known: J (and F) in points, of `reference` and `candidate`."""
    frames: str = ""
    """Which frames."""
    tolerances: Tolerances = TOLERANCES["float32"]

    @property
    def score_drop(self) -> float | None:
        """Points that the candidate is below the reference: of J&F where F is known, else of J."""
        if not self.scores:
            return None
        points = {who: sum(values.values()) / len(values) for who, values in self.scores.items()}
        return points["reference"] - points["candidate"]

    @property
    def passed(self) -> bool:
        """Whether every bar is reached; what was not measured is not judged."""
        return all(ok for *_, ok in self.rows())

    def rows(self) -> list[tuple[str, float, str, bool]]:
        """What was measured: name, value, the bar in words, reached or not."""
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
            # A few frames say nothing: one wrong cell is a point.
            enough = self.steps > ENOUGH_STEPS
            words = f"<= {tolerances.score_drop:g}" if enough else ""
            rows.append(("points lost", drop, words, not enough or drop <= tolerances.score_drop))
        return rows

    def table(self) -> str:
        """Lines for a person."""
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
        """For the manifest: figures that mean nothing beyond six digits are cut there."""
        values = {name: _short(value) for name, value in asdict(self).items()}
        return {**values, "score_drop": _short(self.score_drop), "passed": self.passed}


class ParityError(CrwedgeError):
    """A verdict below the tolerances: the candidate is not what it claims to be."""

    def __init__(self, message: str, parity: Parity) -> None:
        """Keep the verdict for whoever wants to print it."""
        super().__init__(message)
        self.parity = parity


def compare_features(
    reference: Features,
    got: Features,
    tolerances: Tolerances = TOLERANCES["float32"],
    names: tuple[str, str] = ("reference", "candidate"),
) -> Parity:
    """Compare features (C, h, w) frame by frame; a wrong shape or a value that is not finite fails."""
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
    """The whole verdict: features, neighbours, label maps, and J (J&F with a scorer) where truth exists.

    Args:
        reference: (C, h, w) of each frame of the clip.
        got: the candidate's.
        clip: the frames, the mask of the first, and the truth where it is known.
        settings: the propagation protocol.
        tolerances: what must be reached.
        names: of both.
        scorer: gives J and F of a frame.
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
    """Share of the k nearest cells of the frame before, inside the window, that two encoders agree on.

    Args:
        a: features (C, h, w) of two frames that follow each other.
        b: the same frames through the other encoder.
        settings: k and the radius.
        cells: how many target cells are looked at, spread evenly.
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
    """Points, averaged over objects and frames; as in the field the first and the last frame are not scored."""
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
