"""The interface of studies: points, and the score of a point on a clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crwedge.eval.datasets import Clip
from crwedge.eval.scorer import SequenceScore


@dataclass(frozen=True)
class Topic:
    """What a study varies, and its texts."""

    name: str
    title: str
    axis: str
    """Name of what the points vary."""
    section: str
    """Section of the paper's appendix, and its result."""
    points: dict[str, dict[str, Any]]
    """Label -> changes of the base settings."""
    numeric: bool = True
    """Whether the labels are numbers."""


@dataclass(frozen=True)
class PointScore:
    """Score of one clip at one point with one seed."""

    score: SequenceScore
    facts: dict[str, Any] = field(default_factory=dict)
    """What else was measured."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"score": self.score.to_dict(), "facts": self.facts}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PointScore:
        """The inverse of `to_dict`."""
        return cls(SequenceScore.from_dict(values["score"]), values["facts"])


class Study(ABC):
    """A study. Implementations: `PropagationStudy`, `TrainingStudy`, `TestTimeStudy`.

    Args:
        topic: points and texts.
        points: the points to score, in order; None: all of the topic.
    """

    baseline: str | None = None
    """The point that the others are set beside."""
    series = ""
    """Name of the encoder, where a study is made of several."""
    columns: dict[str, str] = {}  # noqa: RUF012 constant
    """Facts of a row that go into the tables -> their heading."""

    def __init__(self, topic: Topic, points: Sequence[str] | None = None) -> None:
        self.topic = topic
        self.points = tuple(topic.points) if points is None else tuple(points)

    @property
    def name(self) -> str:
        """Name of the study, as the command line takes it."""
        return self.topic.name

    @abstractmethod
    def score(self, point: str, clip: Clip, seed: int) -> PointScore:
        """Score one clip at one point."""

    @abstractmethod
    def protocol(self, point: str, seed: int) -> dict[str, Any]:
        """Everything that the scores of a point depend on, beside the clips."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What all points have in common, for the protocol of the results."""

    def seeded(self, point: str) -> bool:
        """Whether the scores of a point depend on the seed."""
        return False

    def row_facts(self, scores: Sequence[PointScore]) -> dict[str, Any]:
        """Facts of a point from the scores of all clips and seeds."""
        return {}
