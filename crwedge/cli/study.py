"""`crwedge study`: the studies of the paper's appendix as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from crwedge.eval.datasets import Clip
    from crwedge.eval.follow import Follower


def study(
    name: Annotated[
        str,
        typer.Argument(
            help="context, topk, radius, locality, joint-topk, temperature, first-frame, presets, ttt; with training: "
            "frame-rate, clip-length, dropout, single-map."
        ),
    ],
    root: Annotated[Path, typer.Argument(help="DAVIS tree to score on.")],
    videos: Annotated[
        list[Path] | None, typer.Option(help="Studies that train: unlabelled video; may be repeated.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Studies that train: updates for each point.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Studies that train: TOML of every run; default: the published recipe.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Studies that train, ttt: key=value for every run; may be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundle, or shipped; default: that of `crwedge use`, else shipped.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="bundle, or a floor: random, colour.")] = "bundle",
    seed: Annotated[int, typer.Option(help="Seed of --encoder random and of training.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Studies that train: runs of each point, with seeds from --seed on.")
    ] = 1,
    engine: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: runs/study-NAME/results.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that stand at --out.")] = False,
    work: Annotated[
        Path | None,
        typer.Option(help="Scores of each point and features; default: runs/study-NAME, runs/study-features."),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="Four sequences, 24 frames, half size: minutes.")] = False,
    sequences: Annotated[str | None, typer.Option(help="Names of sequences to take, with commas.")] = None,
    max_frames: Annotated[int | None, typer.Option("--max-frames", "--frames", min=3, help="Frames of each.")] = None,
    size: Annotated[str | None, typer.Option(help="Compute at HEIGHTxWIDTH, or 'frame'.")] = None,
    preset: Annotated[str | None, typer.Option(help="Protocol that the study varies: crw, dino, dinov3.")] = None,
    cache_gb: Annotated[float, typer.Option(help="Disk for cached features, in GB; 0 keeps none.")] = 4.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Processors; default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Vary one setting, score each point, and write a table, a plot and one line of conclusion.

    Example: crwedge study topk DAVIS --small
    """
    from crwedge.cli.eval import _names, _rule, _size, _spec
    from crwedge.cli.messages import messages
    from crwedge.cli.training_studies import SMALL_STEPS, TRAINING, small_settings, training_study
    from crwedge.cli.ttt_study import TEST_TIME
    from crwedge.cli.ttt_study import run as run_ttt
    from crwedge.core.errors import SettingError
    from crwedge.core.optional import import_optional
    from crwedge.core.settings import check_choice
    from crwedge.eval.datasets import davis_clips
    from crwedge.eval.evaluate import usual_settings
    from crwedge.eval.feature_cache import FeatureCache
    from crwedge.eval.follow import Follower
    from crwedge.eval.results import plain
    from crwedge.eval.studies import (
        PROPAGATION,
        SMALL_FRAMES,
        SMALL_SEQUENCES,
        SMALL_SIZE,
        propagation_study,
        write_study,
    )

    known = {**PROPAGATION, **TRAINING, TEST_TIME.name: TEST_TIME}
    check_choice("study", name, known)
    import_optional("matplotlib", extra="eval")
    chosen = known[name]
    clips = davis_clips(root, _rule("2017"), _names(sequences))
    if small and not sequences:
        clips = clips[:SMALL_SEQUENCES]
    clips = [clip.first(max_frames or (SMALL_FRAMES if small else None)) for clip in clips]
    # Studies of the same encoder, frames and size share their features, unless a place of its own is asked for.
    features = work / "features" if work else Path("runs") / "study-features"
    work = work or Path("runs") / f"study-{name}"
    if out is not None and (out / "results.json").exists() and not overwrite:
        raise SettingError(f"{out} holds results of a study; choose another --out or give --overwrite")
    out = out or work / "results"
    say = messages(as_json).info
    asked = _size(size)
    where = (SMALL_SIZE if small else None) if asked == "usual" else None if asked == "frame" else asked
    cache = FeatureCache(features, int(cache_gb * 1e9)) if cache_gb > 0 else None
    if name in TRAINING:
        if not videos:
            raise SettingError(f"the study {name} trains an encoder for each point: give --videos")
        # The encoder is replaced by each point's own.
        spec = _spec("colour", None, engine, seed)
        preset_name = preset or spec.preset()
        base = usual_settings("davis", preset_name)
        follower = Follower(spec, base, where, threads)
        recipe = config or Path(__file__).parents[1] / "train" / "configs" / "paper.toml"
        steps = steps or (SMALL_STEPS if small else 20_000)
        words = [*(small_settings(name) if small else ()), *(settings or ())]
        numbers = range(seed, seed + seeds)
        rows, made = training_study(chosen, clips, follower, videos, steps, numbers, recipe, words, work, say)
    else:
        spec = _spec(encoder, model, engine, seed)
        preset_name = preset or spec.preset()
        base = usual_settings("davis", preset_name)
        follower = Follower(spec, base, where or spec.size(), threads, cache)
        if name == TEST_TIME.name:
            from crwedge.adapt.settings import parse_changes

            changes = {**({"updates": steps} if steps else {}), **parse_changes(settings or ())}
            result = run_ttt(clips, follower, preset_name, changes, seed, small, work, out, say)
            say(str(result["conclusion"]))
            if as_json:
                typer.echo(json.dumps(plain({**result, "out": str(out)})))
            return
        rows, made = propagation_study(chosen, clips, follower, work, say), {}
    protocol = {**_protocol(follower, preset_name, clips), **made}
    result = write_study(chosen, rows, protocol, out, _note(clips, protocol))
    say(f"protocol: {json.dumps(plain(protocol))}")
    say(str(result["conclusion"]))
    say(f"table, plot and conclusion: {out}")
    if as_json:
        typer.echo(json.dumps(plain({**result, "out": str(out)})))


def _protocol(follower: Follower, preset: str, clips: list[Clip]) -> dict[str, Any]:
    from crwedge.eval.score_folders import davis_protocol

    frames = {clip.name: len(clip.frames) for clip in clips}
    return {**davis_protocol("2017"), **follower.protocol(preset), "frames": frames}


def _note(clips: list[Clip], protocol: dict[str, Any]) -> str:
    encoder = protocol["encoder"]
    frames = sum(len(clip.frames) for clip in clips)
    names = ", ".join(clip.name for clip in clips)
    what = encoder["name"] if encoder["trained"] or encoder["sha256"] is None else f"{encoder['name']} (not trained)"
    size = protocol["size"] or "full size"
    return f"Encoder {what}; {len(clips)} sequences, {frames} frames ({names}); computed at {size}."
