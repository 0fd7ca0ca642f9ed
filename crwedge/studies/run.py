"""`run_study`: a study of the appendix from its name to its table, plot and conclusion."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.core.settings import check_choice
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.evaluate import usual_settings
from crwedge.eval.feature_cache import FeatureCache
from crwedge.eval.follow import Follower
from crwedge.eval.results import plain
from crwedge.eval.score_folders import davis_protocol
from crwedge.studies import propagation, test_time, training
from crwedge.studies.baselines import encoder_spec, random_bundle
from crwedge.studies.score import score_study
from crwedge.studies.study import Study
from crwedge.studies.writer import write_study

NAMES = (*propagation.TOPICS, *training.TOPICS, test_time.TOPIC.name)
"""Every study."""
SMALL_SEQUENCES, SMALL_FRAMES, SMALL_SIZE = 4, 24, (240, 427)
"""Sequences, frames of each and (H, W) of a small study."""

_log = logging.getLogger(__name__)


def run_study(
    name: str,
    root: str | Path,
    *,
    model: str | None = None,
    encoder: str = "bundle",
    engine: str = "auto",
    preset: str | None = None,
    size: tuple[int, int] | Literal["usual", "frame"] = "usual",
    small: bool = False,
    sequences: Sequence[str] = (),
    max_frames: int | None = None,
    videos: Sequence[str | Path] = (),
    config: str | Path = "paper",
    steps: int | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    seeds: int | None = None,
    out: str | Path | None = None,
    work: str | Path | None = None,
    overwrite: bool = False,
    cache_gb: float = 4.0,
    threads: int | None = None,
) -> dict[str, Any]:
    """Vary one setting, score each point on DAVIS sequences, and write a table, a plot and a conclusion.

    Progress goes to the logger `crwedge.studies`. What was scored or trained before is kept in `work`.

    Example:
        >>> import crwedge as cw
        >>> result = cw.run_study("locality", "DAVIS", small=True)
        >>> print(result["conclusion"])

    Args:
        name: one of `crwedge.studies.run.NAMES`.
        root: DAVIS tree to score on.
        model: bundle or its name; None: that of `crwedge use`, else the shipped one.
        encoder: `bundle`, or a floor: `random`, `colour`.
        engine: `auto` or `cpu`.
        preset: protocol that the study varies; None: that of the bundle.
        size: (H, W) to compute at; `usual`: that of the bundle, or of the small form; `frame`: that of the frame.
        small: four sequences of 24 frames at half size, and short training: minutes in place of days.
        sequences: names of sequences to take; all when empty.
        max_frames: frames of each.
        videos: unlabelled video, for studies that train.
        config: TOML file or recipe that every run of such a study starts from.
        steps: updates of each run; of test-time training, of each window.
        settings: `key=value` for every run; for `ttt` also `points=off,causal`.
        seed: first seed, and that of a random encoder.
        seeds: number of seeds; None: 1, for `ttt` 3 (2 in the small form).
        out: folder of the results; None: `results` in `work`.
        work: folder of scores, runs and features; None: `runs/study-NAME`, with features in `runs/study-features`.
        overwrite: replace results that are in `out` already.
        cache_gb: disk for cached features; 0 keeps none.
        threads: processors; None: all.

    Returns:
        What results.json holds, and the folder as "out".

    Raises:
        UserError: a name, file or setting cannot be used, or `out` holds results.
    """
    check_choice("study", name, NAMES)
    import_optional("matplotlib", extra="eval")
    features = Path(work) / "features" if work else Path("runs") / "study-features"
    work = Path(work) if work else Path("runs") / f"study-{name}"
    if out is not None and (Path(out) / "results.json").exists() and not overwrite:
        raise SettingError(f"{out} holds results of a study; choose another --out, or add --overwrite")
    out = Path(out) if out is not None else work / "results"
    clips = davis_clips(Path(root), "2017", list(sequences))
    if small and not sequences:
        clips = clips[:SMALL_SEQUENCES]
    clips = [clip.first(max_frames or (SMALL_FRAMES if small else None)) for clip in clips]
    if name in training.TOPICS:
        if not videos:
            raise SettingError(f"the study {name} trains an encoder for each point: give --videos")
        for module in ("torch", "safetensors", "kornia"):
            import_optional(module, extra="train")
        encoder, model = "colour", None  # replaced by each point's own
    if name == test_time.TOPIC.name and encoder == "colour":
        raise SettingError("the study ttt trains an encoder; --encoder colour has none")
    spec = encoder_spec(encoder, model, engine, seed)
    preset = preset or spec.preset()
    chosen = (SMALL_SIZE if small else spec.size()) if size == "usual" else None if size == "frame" else size
    cached = cache_gb > 0 and name in propagation.TOPICS
    cache = FeatureCache(features, int(cache_gb * 1e9)) if cached else None
    follower = Follower(spec, usual_settings("davis", preset), chosen, threads, cache)
    studies: Sequence[Study]
    if name in propagation.TOPICS:
        studies = [propagation.PropagationStudy(propagation.TOPICS[name], follower)]
    elif name in training.TOPICS:
        studies = [_training(name, follower, videos, config, steps, settings, small, work)]
    else:
        studies = _test_time(follower, steps, settings, small, seed)
        seeds = seeds or (2 if small else 3)
    numbers = range(seed, seed + (seeds or 1))
    rows = score_study(studies, clips, numbers, work)
    summaries = [study.summary() for study in studies]
    protocol = {**davis_protocol("2017"), **summaries[0], "preset": preset, "seeds": list(numbers)}
    protocol["frames"] = {clip.name: len(clip.frames) for clip in clips}
    if len(summaries) > 1:
        protocol["encoder"] = [one["encoder"] for one in summaries]
    result = write_study(studies[0], rows, protocol, out, _note(clips, protocol))
    _log.info("protocol: %s", json.dumps(plain(protocol)))
    _log.info("%s", result["conclusion"])
    _log.info("table, plot and conclusion: %s", out)
    final: dict[str, Any] = plain({**result, "out": str(out)})
    return final


def _training(
    name: str,
    follower: Follower,
    videos: Sequence[str | Path],
    config: str | Path,
    steps: int | None,
    settings: Sequence[str],
    small: bool,
    work: Path,
) -> Study:
    from crwedge.train.config_file import read_config

    steps = steps or (training.SMALL_STEPS if small else training.STEPS)
    given = {"videos": tuple(map(str, videos)), "steps": steps, "minutes": 0.0}
    first = [f"{key}={value}" for key, value in (training.small_changes(name) if small else {}).items()]
    base = read_config(config, [*first, *settings], **given)
    return training.TrainingStudy(training.TOPICS[name], follower, base, work / "points")


def _test_time(
    follower: Follower, steps: int | None, settings: Sequence[str], small: bool, seed: int
) -> list[test_time.TestTimeStudy]:
    """The encoder asked for, and, but for the small form, a random one beside it."""
    from crwedge.adapt.settings import parse_changes
    from crwedge.core.bundle import Bundle
    from crwedge.runtime.bundle_lookup import find_bundle

    changes = {**(test_time.SMALL_CHANGES if small else {}), **({"updates": steps} if steps else {})}
    changes |= parse_changes(settings)
    named = [word.strip() for word in str(changes.pop("points", "")).split(",") if word.strip()]
    points = named or list(test_time.SMALL_POINTS if small else test_time.POINTS)
    if small:
        short = replace(follower.settings, context_length=test_time.SMALL_CONTEXT, first_frame="restricted")
        follower = replace(follower, settings=short)
    bundles = {found.manifest.name: found for found in [find_bundle(follower.encoder.model)]}
    if not small:
        random = Bundle.open(random_bundle(seed))
        bundles[random.manifest.name] = random
    return [test_time.TestTimeStudy(bundle, follower, changes, points) for bundle in bundles.values()]


def _note(clips: Sequence[Clip], protocol: dict[str, Any]) -> str:
    encoders = protocol["encoder"] if isinstance(protocol["encoder"], list) else [protocol["encoder"]]
    named = [
        one["name"] if one["trained"] or one["sha256"] is None else f"{one['name']} (not trained)" for one in encoders
    ]
    frames = sum(len(clip.frames) for clip in clips)
    names = ", ".join(clip.name for clip in clips)
    return (
        f"Encoder {' and '.join(named)}; {len(clips)} sequences, {frames} frames ({names}); computed at "
        f"{protocol['size'] or 'full size'}."
    )
