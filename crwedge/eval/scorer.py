"""Score a sequence frame by frame: `feed_frame(mask, truth)` for each frame, then `conclude()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.images import size_text
from crwedge.core.masks import VOID, object_ids
from crwedge.eval.metrics import Statistics, frame_scores, mean_statistics, statistics

Rule = Literal["2017", "2016"]
"""DAVIS 2017 scores each object of the first true mask; DAVIS 2016 scores all objects together as one."""


@dataclass(frozen=True)
class ObjectScore:
    """J and F of one object in every frame; NaN where a frame was not scored."""

    object_id: int
    J: NDArray[np.float64]
    """(T,) region similarity."""
    F: NDArray[np.float64]
    """(T,) boundary accuracy."""

    @property
    def statistics(self) -> dict[str, Statistics]:
        """Mean, recall and decay of "J" and of "F"."""
        return {"J": statistics(self.J), "F": statistics(self.F)}


@dataclass(frozen=True)
class SequenceScore:
    """Score of a sequence."""

    frames: int
    scored: int
    """Number of scored frames: all but the first, the last and skipped ones."""
    objects: tuple[ObjectScore, ...]
    cost: Mapping[str, float] = field(default_factory=dict)
    """`cells`: mean number of cells computed for a frame. `frame_ms`: median time of a frame. Empty if not measured."""

    def mean(self, measure: Literal["J", "F"]) -> Statistics:
        """Mean of the objects' statistics."""
        return mean_statistics([score.statistics[measure] for score in self.objects])

    @property
    def jf(self) -> float:
        """J&F: the mean of J's and F's means."""
        return (self.mean("J").mean + self.mean("F").mean) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: means over objects, and values of each frame; null is a frame that was not scored."""
        result: dict[str, Any] = {}
        for measure in ("J", "F"):
            table = np.stack([getattr(score, measure) for score in self.objects])
            means = mean_statistics([score.statistics[measure] for score in self.objects])
            result[measure] = {**means.to_dict(), "raw": _plain(table.mean(axis=0))}
        result |= {"JF": self.jf, "frames": self.frames, "scored": self.scored}
        if self.cost:
            result["cost"] = dict(self.cost)
        result["objects"] = {
            str(score.object_id): {
                measure: {**score.statistics[measure].to_dict(), "raw": _plain(getattr(score, measure))}
                for measure in ("J", "F")
            }
            for score in self.objects
        }
        return result

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SequenceScore:
        """The inverse of `to_dict`."""
        objects = tuple(
            ObjectScore(int(name), _array(score["J"]["raw"]), _array(score["F"]["raw"]))
            for name, score in values["objects"].items()
        )
        return cls(int(values["frames"]), int(values["scored"]), objects, values.get("cost", {}))


class SequenceScorer:
    """Scores a sequence frame by frame.

    The first and the last frame are not scored (DAVIS), so each frame is kept until the next one is fed.

    Args:
        rule: "2017" for each object of the first true mask, "2016" for their union as object 1.
    """

    def __init__(self, rule: Rule = "2017") -> None:
        self._rule = rule
        self._objects: tuple[int, ...] | None = None
        self._held: tuple[NDArray[np.uint8] | None, NDArray[np.uint8]] | None = None
        self._figures: list[NDArray[np.float64] | None] = []

    def feed_frame(self, mask: NDArray[np.uint8] | None, truth: NDArray[np.uint8]) -> None:
        """Take the next frame.

        The objects are the ids of the first true mask. An object that disappears is still scored: 1 where the prediction does
        not have it either, else 0. An object that the prediction never has scores 0 where it is visible. Other ids and void
        count as background on both sides.

        Args:
            mask: (H, W) predicted ids; None: the frame is not scored.
            truth: (H, W) true ids.

        Raises:
            MaskError: the masks differ in size, or the first true mask has no object.
        """
        if mask is not None and mask.shape != truth.shape:
            raise MaskError(
                f"the mask is {size_text(mask.shape)} (height x width), the true one "
                f"{size_text(truth.shape)}: write masks of the frame's own size"
            )
        if self._rule == "2016":
            mask, truth = None if mask is None else _union(mask), _union(truth)
        if self._objects is None:
            self._objects = object_ids(truth)
            if not self._objects:
                raise MaskError("the first true mask holds no object")
        self._score_held(first=len(self._figures) == 0)
        self._held = (mask, truth)

    def conclude(self) -> SequenceScore:
        """The score of all frames fed so far; the last one is not scored."""
        if self._objects is None or self._held is None:
            raise MaskError("no frame was fed: there is nothing to score")
        figures = [*self._figures, None]
        blank = np.full((2, len(self._objects)), np.nan)
        table = np.stack([blank if frame is None else frame for frame in figures])
        scores = tuple(ObjectScore(i, table[:, 0, n], table[:, 1, n]) for n, i in enumerate(self._objects))
        return SequenceScore(len(figures), sum(frame is not None for frame in figures), scores)

    def _score_held(self, first: bool) -> None:
        if self._held is None or self._objects is None:
            return
        mask, truth = self._held
        self._figures.append(None if first or mask is None else np.stack(frame_scores(mask, truth, self._objects)))


def overall(scores: dict[str, SequenceScore]) -> dict[str, Any]:
    """Means over the objects of all sequences: {"J": {mean, recall, decay}, "F": ..., "JF"}."""
    result: dict[str, Any] = {}
    for measure in ("J", "F"):
        parts = [score.statistics[measure] for sequence in scores.values() for score in sequence.objects]
        result[measure] = mean_statistics(parts).to_dict()
    result["JF"] = (result["J"]["mean"] + result["F"]["mean"]) / 2
    for key in ("cells", "frame_ms"):
        known = [sequence.cost[key] for sequence in scores.values() if key in sequence.cost]
        if known:
            result.setdefault("cost", {})[key] = fmean(known)
    return result


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of the results of `overall` over runs with different seeds, the range of their J&F, and their number."""
    return {
        **{m: {key: fmean(run[m][key] for run in runs) for key in runs[0][m]} for m in ("J", "F")},
        "JF": fmean(run["JF"] for run in runs),
        "JF_low": min(run["JF"] for run in runs),
        "JF_high": max(run["JF"] for run in runs),
        "seeds": len(runs),
    }


def _union(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray((ids > 0) & (ids != VOID), np.uint8)


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _array(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
