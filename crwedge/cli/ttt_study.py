"""`crwedge study ttt`: does test-time training help, and what does it cost? One tracker a sequence, setting and seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.core.errors import SettingError
from crwedge.eval.studies import Study

if TYPE_CHECKING:
    from crwedge.adapt.settings import TestTimeSettings
    from crwedge.core.bundle import Bundle
    from crwedge.eval.datasets import Clip
    from crwedge.eval.follow import Follower
    from crwedge.eval.scorer import SequenceScore

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

TEST_TIME = Study(
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


@dataclass(frozen=True)
class TttScore:
    """What a sequence came to, and what it cost."""

    score: SequenceScore
    seconds: float
    """Of tracking and training together, without reading and scoring."""
    training: dict[str, Any]
    """Counts of test-time training; empty where it was off."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.score.to_dict(), "seconds": self.seconds, "training": self.training}


def run(
    clips: Sequence[Clip],
    follower: Follower,
    preset: str,
    changes: Mapping[str, Any],
    seed: int,
    small: bool,
    work: Path,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The whole study: all points, tables and plot in `out`, of the encoder asked for and of a random one.

    The small form takes the encoder asked for alone; for the weak one, run it again with `--encoder random`.

    Args:
        clips: what to score on.
        follower: encoder, propagation settings, size, threads.
        preset: what the settings started from, for the protocol's words.
        changes: settings of test-time training for every point, by name; `points` names those to take, with commas.
        seed: the first of two seeds (`small`) or three; also that of the random encoder.
        small: fewer points and updates, smaller pictures, a shorter context.
        work: keeps the scores.
        out: where the results go.
        say: told of each point.

    Returns:
        What results.json holds.
    """
    from crwedge.cli.floors import random_bundle
    from crwedge.cli.ttt_report import write_report
    from crwedge.core.bundle import Bundle
    from crwedge.eval.score_folders import davis_protocol
    from crwedge.runtime.bundle_lookup import find_bundle

    if follower.encoder.kind == "colour":
        raise SettingError("the study ttt trains an encoder; --encoder colour has none")
    changes = {**(SMALL_CHANGES if small else {}), **changes}
    named = str(changes.pop("points", ""))
    points = [word.strip() for word in named.split(",") if word.strip()] or list(SMALL_POINTS if small else POINTS)
    for label in points:
        if label not in POINTS:
            raise SettingError(f"the study ttt has no point {label!r}; it has {', '.join(POINTS)}")
    if small:
        settings = replace(follower.settings, context_length=SMALL_CONTEXT, first_frame="restricted")
        follower = replace(follower, settings=settings)
    seeds = range(seed, seed + (2 if small else 3))
    chosen = find_bundle(follower.encoder.model)
    encoders = {chosen.manifest.name: chosen}
    if not small:
        random = Bundle.open(random_bundle(seed))
        encoders[random.manifest.name] = random
    rows = ttt_study(clips, encoders, follower, points, changes, seeds, work, say)
    protocol = {
        **davis_protocol("2017"),
        **follower.protocol(preset),
        "encoder": {n: {"sha256": b.sha256, "weights_from": b.manifest.weights_from} for n, b in encoders.items()},
        "training": base_settings(changes).to_dict(),
        "seeds": list(seeds),
        "frames": {clip.name: len(clip.frames) for clip in clips},
    }
    frames = sum(len(clip.frames) for clip in clips)
    note = (
        f"{len(clips)} sequences, {frames} frames ({', '.join(clip.name for clip in clips)}), "
        f"computed at {protocol['size'] or 'full size'}; {base_settings(changes).updates} updates a window, synchronous."
    )
    return write_report(rows, protocol, out, note)


def ttt_study(
    clips: Sequence[Clip],
    encoders: Mapping[str, Bundle],
    follower: Follower,
    points: Sequence[str],
    changes: Mapping[str, Any],
    seeds: Sequence[int],
    work: Path,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Score every encoder, point and seed; what was done before is kept, sequence by sequence.

    Training is synchronous, so that no figure depends on the load of the machine.

    Returns:
        One row for each encoder and point: the mean over the seeds, their spread, and seconds a frame.
    """
    from crwedge.eval.results import ResultFolder
    from crwedge.eval.runner import run_clips
    from crwedge.eval.scorer import SequenceScore, over_seeds, overall

    rows = []
    for name, bundle in encoders.items():
        for label in points:
            figures, seconds, undone = [], 0.0, 0
            for seed in seeds if label != OFF else seeds[:1]:
                training = None if label == OFF else point_settings(label, {**changes, "seed": seed})
                protocol = {
                    **follower.protocol(),
                    "encoder": bundle.sha256,
                    "training": None if training is None else training.to_dict(),
                    "frames": {clip.name: len(clip.frames) for clip in clips},
                }
                place = work / "points" / name / label.replace(" ", "-") / f"seed-{seed}"
                tasks = {clip.name: partial(score_clip, clip, bundle, follower, training) for clip in clips}
                scores = run_clips(tasks, ResultFolder(place, protocol))
                figures.append(overall({n: SequenceScore.from_dict(s) for n, s in scores.items()}))
                seconds += sum(s["seconds"] for s in scores.values())
                undone += sum(s["training"].get("undone", 0) for s in scores.values())
            mean = over_seeds(figures)
            row = {
                "encoder": name,
                "point": label,
                **{key: 100 * mean[key] for key in ("JF", "JF_low", "JF_high")},
                "J": 100 * mean["J"]["mean"],
                "F": 100 * mean["F"]["mean"],
                "seeds": mean["seeds"],
                "seconds_a_frame": seconds / (len(figures) * sum(len(clip.frames) for clip in clips)),
                "undone": undone,
            }
            rows.append(row)
            say(f"{name}, {label}: J&F {row['JF']:.2f} ({row['JF_low']:.2f} to {row['JF_high']:.2f})")
    return rows


def score_clip(clip: Clip, bundle: Bundle, follower: Follower, training: TestTimeSettings | None) -> TttScore:
    """Track one sequence from its first mask with a fresh tracker and trainer, and score it."""
    from crwedge.adapt.trainer import TestTimeTrainer
    from crwedge.eval.davis import true_mask
    from crwedge.eval.scorer import SequenceScorer
    from crwedge.runtime.sources.images import ImageSource
    from crwedge.runtime.tracker import Tracker
    from crwedge.runtime.tracker_options import TrackerOptions

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
    return TttScore(scorer.conclude(), seconds, {} if trainer is None else trainer.stats.to_dict())


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
