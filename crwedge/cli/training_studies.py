"""Studies that train an encoder for each point: `crwedge train`, `crwedge export`, then the DAVIS protocol."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from crwedge.core.errors import CrwedgeError
from crwedge.eval.studies import Study

if TYPE_CHECKING:
    from crwedge.eval.datasets import Clip
    from crwedge.eval.follow import Follower

SMALL_STEPS = 40
"""The small form: enough to see that each point trains, not to rank the points."""

TRAINING: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "frame-rate",
            "Frame rate of the training clips",
            "frames a second",
            "appendix D: J&F 65.9, 67.5, 67.6, 62.3 and 57.5 at 2, 4, 8, 30 and infinite frames a second",
            {str(rate): {"frame_rates": f"[{rate}]"} for rate in ("2.0", "4.0", "8.0", "30.0", "inf")},
        ),
        Study(
            "clip-length",
            "Length of the training clips",
            "frames of a clip",
            "appendix E: 2, 4, 6 and 10 were tried",
            {str(length): {"clip_length": str(length)} for length in (2, 4, 6, 10)},
        ),
        Study(
            "dropout",
            "Edge dropout",
            "share of edges dropped",
            "appendix E: 0, 0.05, 0.1, 0.2 and 0.3 were tried",
            {rate: {"edge_dropout": rate} for rate in ("0.0", "0.05", "0.1", "0.2", "0.3")},
        ),
        Study(
            "single-map",
            "Nodes from one feature map, and its controls",
            "nodes",
            "appendix C: with nodes from one map the loss falls by a shortcut, with each of the controls too",
            {
                "patches": {},
                "map": {"nodes": '"map"'},
                "map, no padding": {"nodes": '"map"', "padding": '"none"'},
                "map, crop": {"nodes": '"map"', "map_crop": "-1"},
                "map, blur": {"nodes": '"map"', "blur": "0.5"},
                "map, noise": {"nodes": '"map"', "synthetic": '"noise"'},
            },
            numeric=False,
        ),
    )
}


def small_settings(name: str) -> tuple[str, ...]:
    """What the small form of a study sets for every run."""
    # Without padding a map of less than 256 pixels has no cell left; its 1,024 nodes a frame are slow.
    side, batch = (256, 1) if name == "single-map" else (160, 2)
    cut = (f"size={side}", f"short_side={side}", f"batch={batch}", "workers=0")
    return (*cut, "calibrate=4", "calibrate_side=240", "probe_every=0", "picture_every=0")


def training_study(
    study: Study,
    clips: Sequence[Clip],
    follower: Follower,
    videos: Sequence[Path],
    steps: int,
    seeds: Sequence[int],
    config: Path,
    settings: Sequence[str],
    work: Path,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Train, export and score each point; the untrained encoder comes first as the floor.

    Args:
        study: one of `TRAINING`.
        clips: what to score on.
        follower: settings and size of the propagation; its encoder is replaced.
        videos: unlabelled video.
        steps: updates of each run.
        seeds: of the runs of each point, so that the points differ in one setting only, and that chance can be seen.
        config: TOML file that every run starts from.
        settings: `key=value` for every run.
        work: folder of runs, bundles and scores; what is done there is kept.
        say: told of each run.

    Returns:
        One row a point, the mean over its seeds with their range and last loss, and what belongs to the protocol.
    """
    from crwedge.cli.floors import random_bundle
    from crwedge.eval.davis import score_clip
    from crwedge.eval.encoders import EncoderSpec
    from crwedge.eval.results import ResultFolder
    from crwedge.eval.runner import run_clips
    from crwedge.eval.scorer import SequenceScore, over_seeds, overall

    rows = []
    for label in ("untrained", *study.points):
        figures, losses = [], []
        for seed in seeds:
            place = work / "points" / label.replace(" ", "-").replace(",", "") / f"seed-{seed}"
            if label == "untrained":
                bundle, loss = random_bundle(seed), None
            else:
                words = [f"{key}={value}" for key, value in study.points[label].items()]
                bundle, loss = _trained(place, videos, steps, seed, config, [*settings, *words], say)
            point = replace(follower, encoder=EncoderSpec("bundle", str(bundle), follower.encoder.engine))
            protocol = {**point.protocol(), "frames": {clip.name: len(clip.frames) for clip in clips}}
            tasks = {clip.name: partial(score_clip, clip, point, "2017") for clip in clips}
            scores = run_clips(tasks, ResultFolder(place / "scores", protocol))
            figures.append(overall({name: SequenceScore.from_dict(s) for name, s in scores.items()}))
            if loss is not None:
                losses.append(loss)
            words_of_loss = "" if loss is None else f", last loss {loss:.3f}"
            say(f"{study.axis} {label}, seed {seed}: J&F {100 * figures[-1]['JF']:.1f}{words_of_loss}")
        rows.append({"point": label, **over_seeds(figures), "loss": fmean(losses) if losses else None})
    trained = {
        "config": config.name,
        "steps": steps,
        "seeds": list(seeds),
        "set": list(settings),
        "videos": len(videos),
    }
    encoder = {"name": "one for each point", "sha256": None, "trained": True}
    return rows, {"encoder": encoder, "training": trained}


def _trained(
    place: Path,
    videos: Sequence[Path],
    steps: int,
    seed: int,
    config: Path,
    settings: Sequence[str],
    say: Callable[[str], None],
) -> tuple[Path, float | None]:
    """The bundle of one run and its last loss."""
    from crwedge.cli import run
    from crwedge.core.bundle import MANIFEST

    folder, bundle = place / "run", place / "bundle"
    if not (bundle / MANIFEST).is_file():
        options = [word for setting in (f"seed={seed}", *settings) for word in ("--set", setting)]
        arguments = ["train", *map(str, videos), "--out", str(folder), "--steps", str(steps), *options]
        arguments += ["--resume"] if (folder / "config.toml").is_file() else ["--config", str(config)]
        for command in (arguments, ["export", str(folder), "--out", str(bundle)]):
            say(f"crwedge {' '.join(command)}")
            if run(command) != 0:
                raise CrwedgeError(f"`crwedge {' '.join(command)}` failed; see above, then run the study again")
    return bundle, last_loss(folder)


def last_loss(folder: Path) -> float | None:
    """The last loss that a run logged, where its log can be read."""
    path, found = folder / "metrics.jsonl", None
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):  # a run that was killed leaves half a line
            found = json.loads(line).get("loss", found)
    return None if found is None else float(found)
