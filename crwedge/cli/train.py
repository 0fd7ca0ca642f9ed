"""`crwedge train`: learn an encoder from unlabelled video."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from crwedge.cli.groups import Group, grouped
from crwedge.cli.options import AsJson
from crwedge.train.run_config import USUAL_MINUTES as USUAL_MINUTES


@dataclass(frozen=True)
class RunOptions(Group):
    """The run."""

    panel: ClassVar[str] = "Run"
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<date and time>.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in --out.")] = False
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of the weights.")] = None
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="End after this time; the schedule fits it. Default, without --steps: 60."),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Runs with one seed are equal.")] = None
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: the GPU if there is one.")] = None
    probe: Annotated[
        list[str] | None,
        typer.Option(
            help="Unlabelled footage to score the encoder on at each checkpoint, may be repeated; or one labelled folder "
            "with JPEGImages/ and Annotations/."
        ),
    ] = None
    demo: Annotated[bool, typer.Option("--demo", help="A few minutes on rendered scenes; needs no data.")] = False


@dataclass(frozen=True)
class DataOptions(Group):
    """What is learnt from."""

    panel: ClassVar[str] = "Data"
    images: Annotated[list[str] | None, typer.Option(help="Photographs or folders of them, for still clips.")] = None
    batch: Annotated[int | None, typer.Option(min=1, help="Clips a step, over all machines.")] = None
    clip_length: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode.")] = None
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Decode once and keep small frames.")] = False
    cache: Annotated[str | None, typer.Option(help="Folder where held frames are kept for the next run.")] = None


@grouped
def train(
    run: RunOptions,
    footage: DataOptions,
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Videos, folders of videos or frames, .txt lists, WebDataset .tar shards; in any mix."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file, or: default, moving, paper, demo. With --resume the run's own.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in TOML; repeatable.")
    ] = None,
    list_settings: Annotated[bool, typer.Option("--settings", help="Print every setting with its default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn an encoder from unlabelled video by contrastive random walks.

    The run's folder holds checkpoints, metrics.jsonl, TensorBoard files and encoder.safetensors, which `crwedge export`
    reads. Under `torchrun --nproc-per-node 8 -m crwedge train ...` the batch is divided over the processes.

    Without --config the recipe `default` is used. The shipped encoder was trained with it, then with `moving`.

    Example: crwedge train clips/ --minutes 30 --out runs/first
    """
    from crwedge.core.errors import SettingError
    from crwedge.core.optional import import_optional

    for module in ("torch", "safetensors", "kornia"):
        import_optional(module, "train")
    from crwedge.train.config import TrainConfig
    from crwedge.train.config_file import describe, read_config
    from crwedge.train.fit import run_config

    if list_settings:
        print(describe())
        return
    if run.demo and data:
        raise SettingError("--demo trains on rendered scenes; leave the data out, or leave --demo out")
    recipe = "of the run" if run.resume else str(config or ("demo" if run.demo else "default"))
    if config is None:
        config = run_config(run.out) if run.resume else Path(recipe)
    found = read_config(
        config,
        settings or (),
        videos=tuple(data) if data else None,
        images=tuple(footage.images) if footage.images else None,
        steps=run.steps,
        minutes=run.minutes,
        batch=footage.batch,
        clip_length=footage.clip_length,
        seed=run.seed,
        workers=footage.workers,
        device=run.device,
        in_memory=footage.in_memory or None,
        cache=footage.cache,
        probe=tuple(run.probe) if run.probe else None,
    )
    from crwedge.cli.progress import Progress
    from crwedge.core.heap import keep_freed_memory
    from crwedge.train.loop import train as run_training

    if recipe == "default" and found.run.minutes == 0 and found.run.steps == TrainConfig().run.steps:
        found = found.with_changes(minutes=USUAL_MINUTES)
    keep_freed_memory()
    with Progress("percent", 100, quiet=not sys.stderr.isatty()) as bar:

        def show(event: str, **facts: Any) -> None:
            if event == "step":
                bar.update(int(100 * facts["share"]), f"step {facts['step']}  loss {facts['loss']:.3f}")

        fitted = run_training(found, run.out, resume=run.resume, recipe=recipe, on_event=show)
    if as_json and os.environ.get("RANK", "0") == "0":
        report = {
            "checkpoint": str(fitted.checkpoint),
            "steps": fitted.steps,
            "finished": fitted.finished,
            "skipped": fitted.skipped,
            "metrics": fitted.metrics,
        }
        sys.stdout.write(json.dumps(report) + "\n")
