"""`crwedge train`: learn an encoder from unlabelled video."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.options import AsJson

USUAL_MINUTES = 60.0
"""Duration of a run without --minutes and --steps."""


def train(
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Videos, folders of videos or frames, .txt lists, WebDataset .tar shards; in any mix."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<date and time>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file, or: default, moving, paper, demo. With --resume the run's own.")
    ] = None,
    images: Annotated[list[str] | None, typer.Option(help="Photographs or folders of them, for still clips.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of the weights.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="End after this time; the schedule fits it. Default, without --steps: 60."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips a step, over all machines.")] = None,
    clip_length: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Runs with one seed are equal.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: the GPU if there is one.")] = None,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Decode once and hold small frames.")] = False,
    cache: Annotated[str | None, typer.Option(help="Folder where held frames are kept for the next run.")] = None,
    probe: Annotated[
        str | None, typer.Option(help="Labelled clip: a folder with JPEGImages/ and Annotations/.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value; any setting, as in TOML.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="A few minutes on rendered scenes; needs no data.")] = False,
    list_settings: Annotated[bool, typer.Option("--settings", help="Print every setting with its default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn an encoder from unlabelled video by contrastive random walks.

    The run's folder holds checkpoints, metrics.jsonl, TensorBoard files and encoder.safetensors, which `crwedge export`
    reads. Under `torchrun --nproc-per-node 8 -m crwedge train ...` the batch is divided over the processes.

    Without --config the recipe `default` is used, which trained the shipped encoder.

    Example: crwedge train clips/ --minutes 30 --out runs/first
    """
    from crwedge.core.errors import SettingError
    from crwedge.core.optional import import_optional

    for module in ("torch", "safetensors", "kornia"):
        import_optional(module, "train")
    from crwedge.train.config import TrainConfig
    from crwedge.train.config_file import describe, read_config

    if list_settings:
        print(describe())
        return
    if demo and data:
        raise SettingError("--demo trains on rendered scenes; leave the data out, or leave --demo out")
    if resume and config is None:
        if out is None:
            raise SettingError("--resume needs --out RUN, the folder of the run to go on with")
        if not (out / "config.toml").is_file():
            raise SettingError(f"{out} holds no run (no config.toml); leave --resume out to start one")
        config = out / "config.toml"
    if config is None:
        config = Path("demo" if demo else "default")
    recipe = "of the run" if resume else str(config)
    found = read_config(
        config,
        settings or (),
        videos=tuple(data) if data else None,
        images=tuple(images) if images else None,
        steps=steps,
        minutes=minutes,
        batch=batch,
        clip_length=clip_length,
        seed=seed,
        workers=workers,
        device=device,
        in_memory=in_memory or None,
        cache=cache,
        probe=probe,
    )
    from crwedge.core.heap import keep_freed_memory
    from crwedge.train.loop import fit

    if str(config) == "default" and found.minutes == 0 and found.steps == TrainConfig().steps:
        # Nobody said how long, and the number of steps of the published recipe suits few machines.
        found = replace(found, minutes=USUAL_MINUTES)
    keep_freed_memory()
    fitted = fit(found, out, resume=resume, recipe=recipe)
    if as_json and os.environ.get("RANK", "0") == "0":
        report = {
            "checkpoint": str(fitted.checkpoint),
            "steps": fitted.steps,
            "finished": fitted.finished,
            "skipped": fitted.skipped,
            "metrics": fitted.metrics,
        }
        sys.stdout.write(json.dumps(report) + "\n")
