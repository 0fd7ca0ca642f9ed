"""The study of test-time training: does it help, and what does it cost? One tracker a sequence, setting and seed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crwedge.core.bundle import Bundle
from crwedge.core.errors import SettingError
from crwedge.eval.datasets import Clip
from crwedge.eval.davis import true_mask
from crwedge.eval.follow import Follower
from crwedge.eval.scorer import SequenceScorer
from crwedge.runtime.sources.images import ImageSource
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions
from crwedge.studies.study import PointScore, Study, Topic

if TYPE_CHECKING:
    from crwedge.adapt.settings import TestTimeSettings

OFF = "off"

POINTS: dict[str, dict[str, Any]] = {
    OFF: {},
    "lookahead": {"mode": "lookahead"},
    "causal": {"mode": "causal"},
    "BatchNorm adapts": {"batchnorm": "adapt"},
    "last layers": {"layers": "last"},
    "last layers and lookahead": {"layers": "last", "mode": "lookahead"},
    "context kept": {"context": "keep"},
    "restart each window": {"restart": True},
    "a quarter of the updates": {"updates": 1 / 4},
    "three times the updates": {"updates": 3},
    "a tenth of the rate": {"learning_rate": 1 / 10},
    "ten times the rate": {"learning_rate": 10},
    "window m = 5": {"m": 5},
    "window m = 20": {"m": 20},
    "the appendix's patches": {"recipe": "appendix"},
}
"""Label -> settings that differ from the base, which is causal and trains all layers. Updates and rate are factors."""

TOPIC = Topic(
    "ttt",
    "Test-time training",
    "test-time training",
    "appendix H: frames t-m .. t+m (m = 10), 100 updates every 5 frames; it gives no figure",
    POINTS,
    numeric=False,
)

SMALL_POINTS = (
    OFF,
    "lookahead",
    "causal",
    "BatchNorm adapts",
    "last layers",
    "context kept",
    "three times the updates",
    "ten times the rate",
)
SMALL_CHANGES: dict[str, Any] = {"updates": 10, "size": 96, "clips": 2, "precision": "bfloat16"}
"""The small form: a tenth of the updates, on smaller pictures, in half width."""
SMALL_CONTEXT = 7


class TestTimeStudy(Study):
    """Varies the settings of test-time training of one encoder. Training is synchronous, so no figure depends on the load.

    Args:
        bundle: the encoder that every tracker starts from.
        follower: propagation settings, size, engine and threads.
        changes: settings of test-time training for every point, by name.
        points: labels; `OFF` is without training.
    """

    __test__ = False  # no test case, whatever its name begins with
    baseline = OFF
    columns = {"seconds_a_frame": "seconds a frame", "undone": "windows undone"}  # noqa: RUF012 constant

    def __init__(self, bundle: Bundle, follower: Follower, changes: Mapping[str, Any], points: Sequence[str]) -> None:
        super().__init__(TOPIC, points)
        self.bundle, self.follower, self.changes = bundle, follower, dict(changes)
        self.series = bundle.manifest.name
        for label in points:
            if label not in POINTS:
                raise SettingError(f"the study ttt has no point {label!r}; it has {', '.join(POINTS)}")

    def score(self, point: str, clip: Clip, seed: int) -> PointScore:
        """Track one sequence from its first mask with a fresh tracker and trainer."""
        return score_clip(clip, self.bundle, self.follower, self._settings(point, seed))

    def seeded(self, point: str) -> bool:
        """Whether the point trains."""
        return point != OFF

    def protocol(self, point: str, seed: int) -> dict[str, Any]:
        """Encoder, settings of propagation and training."""
        settings = self._settings(point, seed)
        training = None if settings is None else settings.to_dict()
        return {**self.follower.protocol(), "encoder": self.bundle.sha256, "training": training}

    def summary(self) -> dict[str, Any]:
        """Encoder, settings of propagation and training."""
        facts = {"sha256": self.bundle.sha256, "weights_from": self.bundle.manifest.weights_from}
        encoder = {"name": self.series, "trained": self.bundle.manifest.trained, **facts}
        return {**self.follower.protocol(), "encoder": encoder, "training": base_settings(self.changes).to_dict()}

    def row_facts(self, scores: Sequence[PointScore]) -> dict[str, Any]:
        """Seconds a frame, tracking and training together, and how many windows were undone."""
        frames = sum(one.score.frames for one in scores)
        return {
            "seconds_a_frame": sum(one.facts["seconds"] for one in scores) / frames,
            "undone": sum(one.facts["training"].get("undone", 0) for one in scores),
        }

    def _settings(self, point: str, seed: int) -> TestTimeSettings | None:
        return None if point == OFF else point_settings(point, {**self.changes, "seed": seed})


def score_clip(clip: Clip, bundle: Bundle, follower: Follower, training: TestTimeSettings | None) -> PointScore:
    """Track one sequence from its first mask with a fresh tracker and trainer, and score it.

    The facts hold `seconds` of tracking and training together, without reading and scoring, and the counts of `training`.
    """
    from crwedge.adapt.trainer import TestTimeTrainer

    scorer, seconds = SequenceScorer("2017"), 0.0
    trainer = None if training is None else TestTimeTrainer(training)
    if trainer is not None and follower.threads:
        import torch

        torch.set_num_threads(follower.threads)
    source = ImageSource(list(clip.frames), clip.name)
    mask = true_mask(clip.masks[0], "2017")
    engine, how = follower.encoder.engine, follower.settings
    with Tracker.open(bundle, engine, how, TrackerOptions(follower.size), trainer, workers=follower.threads) as tracker:
        for frame in source if trainer is None else trainer.ahead(source):
            begun = time.perf_counter()
            labels = tracker.step(frame, mask if frame.index == 0 else None)
            seconds += time.perf_counter() - begun
            truth = true_mask(clip.masks[frame.index], "2017")
            scorer.feed_frame(truth if frame.index == 0 else labels.ids, truth)
    counts = {} if trainer is None else trainer.stats.to_dict()
    return PointScore(scorer.conclude(), {"seconds": seconds, "training": counts})


def base_settings(changes: Mapping[str, Any]) -> TestTimeSettings:
    """What every point starts from."""
    from crwedge.adapt.settings import TestTimeSettings

    return TestTimeSettings(synchronous=True, layers="all").with_changes(**changes)


def point_settings(label: str, changes: Mapping[str, Any]) -> TestTimeSettings:
    """The settings of a point: the base's, its own changes, and factors of updates and rate."""
    from crwedge.adapt.settings import TestTimeSettings

    point = dict(POINTS[label])
    if point.pop("recipe", "") == "appendix":
        # Its loss, in the base's window and mode.
        paper = TestTimeSettings.appendix()
        names = ("nodes", "temperature", "clip_length", "clips", "size", "short_side", "scale", "ratio", "rotation")
        point |= {name: getattr(paper, name) for name in (*names, "colour")}
    base = base_settings(changes)
    if "updates" in point:
        point["updates"] = max(1, round(point["updates"] * base.updates))
    if "learning_rate" in point:
        point["learning_rate"] = point["learning_rate"] * base.learning_rate
    return base.with_changes(**point)
