"""`crwedge study`: the studies of the paper's appendix as commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from crwedge.cli.groups import Group, grouped
from crwedge.cli.messages import messages
from crwedge.cli.options import (
    AsJson,
    EncoderKind,
    EncoderOptions,
    MaxFrames,
    Overwrite,
    Seed,
    Sequences,
    Size,
    Threads,
    computed_size,
    split_names,
)


@dataclass(frozen=True)
class StudiedEncoder(EncoderOptions):
    """What is studied."""

    encoder: EncoderKind = "bundle"
    seed: Seed = 0


@dataclass(frozen=True)
class ClipOptions(Group):
    """Which part of the data."""

    panel: ClassVar[str] = "Clips"
    small: Annotated[bool, typer.Option("--small", help="Four sequences, 24 frames, half size: minutes.")] = False
    sequences: Sequences = None
    max_frames: MaxFrames = None
    size: Size = None


@dataclass(frozen=True)
class TrainingOptions(Group):
    """Studies that train; `--set`, `--seed` and `--seeds` are of test-time training too."""

    panel: ClassVar[str] = "Training"
    videos: Annotated[list[Path] | None, typer.Option(help="Unlabelled video; may be repeated.")] = None
    config: Annotated[str, typer.Option(help="TOML or recipe that every run starts from.")] = "paper"
    steps: Annotated[int | None, typer.Option(min=1, help="Updates for each point.")] = None
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For every run; may be repeated.")
    ] = None
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each point, from --seed on; default 1, ttt 3.")] = (
        None
    )


@dataclass(frozen=True)
class ResultOptions(Group):
    """Where the results go."""

    panel: ClassVar[str] = "Results"
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: runs/study-NAME/results.")] = None
    overwrite: Overwrite = False
    work: Annotated[
        Path | None,
        typer.Option(help="Scores of each point and features; default: runs/study-NAME, runs/study-features."),
    ] = None
    cache_gb: Annotated[float, typer.Option(help="Disk for cached features, in GB; 0 keeps none.")] = 4.0


@grouped
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="context, topk, radius, locality, joint-topk, temperature, first-frame, presets, ttt; with training: "
            "frame-rate, clip-length, dropout, single-map."
        ),
    ],
    root: Annotated[Path, typer.Argument(help="DAVIS tree to score on.")],
    studied: StudiedEncoder,
    clips: ClipOptions,
    training: TrainingOptions,
    results: ResultOptions,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Vary one setting, score each point, and write a table, a plot and one line of conclusion.

    Example: crwedge study topk DAVIS --small
    """
    from crwedge.studies.run import run_study

    messages(as_json)
    result = run_study(
        name,
        root,
        model=studied.model,
        encoder=studied.encoder,
        engine=studied.engine,
        preset=studied.preset,
        size=computed_size(clips.size),
        small=clips.small,
        sequences=split_names(clips.sequences),
        max_frames=clips.max_frames,
        videos=training.videos or (),
        config=training.config,
        steps=training.steps,
        settings=training.settings or (),
        seed=studied.seed,
        seeds=training.seeds,
        out=results.out,
        work=results.work,
        overwrite=results.overwrite,
        cache_gb=results.cache_gb,
        threads=threads,
    )
    if as_json:
        typer.echo(json.dumps(result))
