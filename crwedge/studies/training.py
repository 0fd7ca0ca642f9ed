"""Studies that train an encoder for each point and seed, export it, and score it by the DAVIS protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from crwedge.core.bundle import MANIFEST
from crwedge.core.errors import CrwedgeError
from crwedge.eval.datasets import Clip
from crwedge.eval.davis import score_clip
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.follow import Follower
from crwedge.studies.baselines import random_bundle
from crwedge.studies.study import PointScore, Study, Topic

if TYPE_CHECKING:
    from crwedge.train.config import TrainConfig

UNTRAINED = "untrained"
STEPS, SMALL_STEPS = 20_000, 40
"""Updates of each run. The small form is enough to see that each point trains, not to rank the points."""

_log = logging.getLogger(__name__)

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(
            "frame-rate",
            "Frame rate of the training clips",
            "frames a second",
            "appendix D: J&F 65.9, 67.5, 67.6, 62.3 and 57.5 at 2, 4, 8, 30 and infinite frames a second",
            {str(rate): {"frame_rates": rate} for rate in (2.0, 4.0, 8.0, 30.0, math.inf)},
        ),
        Topic(
            "clip-length",
            "Length of the training clips",
            "frames of a clip",
            "appendix E: 2, 4, 6 and 10 were tried",
            {str(length): {"clip_length": length} for length in (2, 4, 6, 10)},
        ),
        Topic(
            "dropout",
            "Edge dropout",
            "share of edges dropped",
            "appendix E: 0, 0.05, 0.1, 0.2 and 0.3 were tried",
            {str(rate): {"edge_dropout": rate} for rate in (0.0, 0.05, 0.1, 0.2, 0.3)},
        ),
        Topic(
            "single-map",
            "Nodes from one feature map, and its controls",
            "nodes",
            "appendix C: with nodes from one map the loss falls by a shortcut, with each of the controls too",
            {
                "patches": {},
                "map": {"nodes": "map"},
                "map, no padding": {"nodes": "map", "padding": "none"},
                "map, crop": {"nodes": "map", "map_crop": -1},
                "map, blur": {"nodes": "map", "blur": 0.5},
                "map, noise": {"nodes": "map", "synthetic": "noise"},
            },
            numeric=False,
        ),
    )
}


def small_changes(name: str) -> dict[str, Any]:
    """What the small form of a study sets for every run."""
    # Without padding a map of less than 256 pixels has no cell left; its 1,024 nodes a frame are slow.
    side, batch = (256, 1) if name == "single-map" else (160, 2)
    cut = {"size": side, "short_side": side, "batch": batch, "workers": 0}
    return {**cut, "calibrate": 4, "calibrate_side": 240, "probe_every": 0, "picture_every": 0}


class TrainingStudy(Study):
    """Trains an encoder for each point and seed; the untrained encoder comes first as the floor.

    Args:
        topic: one of `TOPICS`.
        follower: settings and size of the propagation; its encoder is replaced.
        config: what every run starts from; it holds videos and steps.
        folder: of runs and bundles; what is done there is kept.
    """

    columns = {"loss": "last loss"}  # noqa: RUF012 constant

    def __init__(self, topic: Topic, follower: Follower, config: TrainConfig, folder: Path) -> None:
        super().__init__(topic, (UNTRAINED, *topic.points))
        self.follower, self.config, self.folder = follower, config, folder

    def score(self, point: str, clip: Clip, seed: int) -> PointScore:
        """Train and export, unless that is done, then propagate."""
        bundle, loss = (random_bundle(seed), None) if point == UNTRAINED else self._trained(point, seed)
        spec = EncoderSpec("bundle", str(bundle), self.follower.encoder.engine)
        facts = {} if loss is None else {"loss": loss}
        return PointScore(score_clip(clip, replace(self.follower, encoder=spec), "2017"), facts)

    def seeded(self, point: str) -> bool:
        """Every point: weights and data are drawn."""
        return True

    def protocol(self, point: str, seed: int) -> dict[str, Any]:
        """Settings of the propagation, and those of the training that differ from their defaults."""
        training = None if point == UNTRAINED else self.config_of(point, seed).changes()
        return {**self.summary(), "training": training, "rule": "2017"}

    def summary(self) -> dict[str, Any]:
        """Settings of the propagation, and what the runs have in common."""
        encoder = {"name": "one for each point", "sha256": None, "trained": True}
        return {**self.follower.protocol(), "encoder": encoder, "training": self.config.changes()}

    def row_facts(self, scores: Sequence[PointScore]) -> dict[str, Any]:
        """The last loss, as a mean over the seeds."""
        losses = [one.facts["loss"] for one in scores if "loss" in one.facts]
        return {"loss": fmean(losses) if losses else None}

    def config_of(self, point: str, seed: int) -> TrainConfig:
        """The configuration of one run."""
        return self.config.with_changes(**{**self.topic.points[point], "seed": seed})

    def _trained(self, point: str, seed: int) -> tuple[Path, float | None]:
        """The bundle of one run and its last loss."""
        from crwedge.train.journal import read_metrics

        place = self.folder / point.replace(" ", "-").replace(",", "") / f"seed-{seed}"
        run, bundle = place / "run", place / "bundle"
        if not (bundle / MANIFEST).is_file():
            _log.info("%s %s, seed %d: training in %s", self.topic.axis, point, seed, run)
            train_and_export(self.config_of(point, seed), run, bundle)
        losses = [entry["loss"] for entry in read_metrics(run) if "loss" in entry]
        return bundle, float(losses[-1]) if losses else None


def train_and_export(config: TrainConfig, run: Path, bundle: Path) -> None:
    """Train into `run`, going on where an earlier attempt stopped, and export to `bundle`.

    Raises:
        CrwedgeError: a signal ended the training early.
    """
    from crwedge.export.build import export_bundle
    from crwedge.train.loop import train
    from crwedge.train.state import saved_steps

    fitted = train(config, run, resume=bool(saved_steps(run)), recipe="of the study")
    if not fitted.finished:
        raise CrwedgeError(f"the training in {run} was stopped; run the study again to go on with it")
    export_bundle(fitted.checkpoint, bundle)
