"""`crwedge study`: the studies of the paper's appendix as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.messages import messages


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
        str, typer.Option(help="Studies that train: TOML or recipe that every run starts from.")
    ] = "paper",
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
        int | None,
        typer.Option(min=1, help="Studies that train, ttt: runs of each point, from --seed on; default 1, ttt 3."),
    ] = None,
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
    from crwedge.core.images import parse_size
    from crwedge.studies.run import run_study

    messages(as_json)
    result = run_study(
        name,
        root,
        model=model,
        encoder=encoder,
        engine=engine,
        preset=preset,
        size="usual" if size is None else "frame" if size == "frame" else parse_size(size),
        small=small,
        sequences=[word.strip() for word in (sequences or "").split(",") if word.strip()],
        max_frames=max_frames,
        videos=videos or (),
        config=config,
        steps=steps,
        settings=settings or (),
        seed=seed,
        seeds=seeds,
        out=out,
        work=work,
        overwrite=overwrite,
        cache_gb=cache_gb,
        threads=threads,
    )
    if as_json:
        typer.echo(json.dumps(result))
