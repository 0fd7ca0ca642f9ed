"""Studies of label propagation: one setting of the protocol is varied, features are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from crwedge.core.settings import PRESETS, PropagationSettings
from crwedge.eval.datasets import Clip
from crwedge.eval.davis import score_clip
from crwedge.eval.follow import Follower
from crwedge.studies.study import PointScore, Study, Topic


def _points(setting: str, values: Sequence[float]) -> dict[str, dict[str, Any]]:
    return {f"{value:g}": {setting: value} for value in values}


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(
            "context",
            "Length of the context",
            "context frames m",
            "appendix F.1: more context helps (k = 10, r = 12)",
            _points("context_length", (1, 4, 7, 12, 20)),
        ),
        Topic(
            "topk",
            "Number of neighbours",
            "neighbours k",
            "appendix F.1: effect of considering more neighbours (r = 12)",
            _points("topk", (1, 5, 10, 20, 50)),
        ),
        Topic(
            "radius",
            "Search radius",
            "radius r in cells",
            "appendix F.1: effect of the radius (m = 20)",
            _points("radius", (4, 8, 12, 20, 30)),
        ),
        Topic(
            "locality",
            "Local attention or all cells of the context",
            "source cells",
            "appendix F, 1: local attention gains about 4 points of J&F (ImageNet encoder)",
            {"local": {}, "everywhere": {"radius": math.inf}},
            numeric=False,
        ),
        Topic(
            "joint-topk",
            "The k nearest of all frames together, or of each frame",
            "neighbours taken",
            "appendix F, 2: all frames together gains about 3 points of J&F (ImageNet encoder)",
            {"joint": {}, "each frame": {"topk_over": "frame"}},
            numeric=False,
        ),
        Topic(
            "temperature",
            "Temperature of the propagation",
            "temperature",
            "appendix E: 0.07",
            _points("temperature", (0.02, 0.05, 0.07, 0.1, 0.2)),
        ),
        Topic(
            "first-frame",
            "Search the first frame everywhere or in the window",
            "first frame",
            "not in the appendix: the published code searches it everywhere",
            {"global": {}, "restricted": {"first_frame": "restricted"}},
            numeric=False,
        ),
        Topic(
            "presets",
            "Whole protocols",
            "preset",
            "not in the appendix: protocols of later work with the same encoder",
            {name: {"preset": name} for name in PRESETS},
            numeric=False,
        ),
    )
}


class PropagationStudy(Study):
    """Varies one setting of the propagation.

    Args:
        topic: one of `TOPICS`.
        follower: the base protocol. With a feature cache each clip is encoded once for all points and studies.
    """

    def __init__(self, topic: Topic, follower: Follower) -> None:
        super().__init__(topic)
        self.follower = follower

    def score(self, point: str, clip: Clip, seed: int) -> PointScore:
        """Propagate with the settings of the point, by the rules of DAVIS 2017."""
        return PointScore(score_clip(clip, self._at(point), "2017"))

    def protocol(self, point: str, seed: int) -> dict[str, Any]:
        """Encoder, settings and size."""
        return {**self._at(point).protocol(), "rule": "2017"}

    def summary(self) -> dict[str, Any]:
        """Encoder, base settings and size."""
        return self.follower.protocol()

    def settings(self, point: str) -> PropagationSettings:
        """Settings of a point."""
        changes, base = self.topic.points[point], self.follower.settings
        return PRESETS[changes["preset"]] if "preset" in changes else replace(base, **changes)

    def _at(self, point: str) -> Follower:
        return replace(self.follower, settings=self.settings(point))
