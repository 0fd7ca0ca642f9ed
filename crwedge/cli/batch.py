"""`crwedge batch`: follow painted objects through many recorded videos."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crwedge.cli.config_option import apply_config

if TYPE_CHECKING:
    from crwedge.batch.driver import Pool, Summary

_log = logging.getLogger("crwedge")
_INPUT, _OUTPUT, _HOW, _WHERE = "What to follow", "Results", "How it is followed", "Workers"


def batch(
    source: Annotated[
        list[str],
        typer.Argument(help="Folders of videos, videos, folders of frames, or one table: *.csv, *.jsonl."),
    ],
    masks: Annotated[
        str | None,
        typer.Option(help="Folder of the masks; default: beside the videos.", rich_help_panel=_INPUT),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Names of videos to take, with * and ?; may be repeated.", rich_help_panel=_INPUT),
    ] = None,
    out: Annotated[
        str, typer.Option(help="Folder of the results and of manifest.jsonl.", rich_help_panel=_OUTPUT)
    ] = "runs/batch",
    save: Annotated[
        list[str] | None,
        typer.Option(
            help="Each video's outputs: masks (default), *.mp4, *.jsonl; may be repeated.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of other settings.", rich_help_panel=_OUTPUT)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object last.", rich_help_panel=_OUTPUT)
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="Bundle, or shipped; default: that of `crwedge use`.", rich_help_panel=_HOW),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Protocol: edge (default), crw, dino, dinov3.", rich_help_panel=_HOW)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, such as topk=5 or size=480x854; may be repeated.", rich_help_panel=_HOW),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.", rich_help_panel=_HOW)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Videos at once; default: by processors and memory.", rich_help_panel=_WHERE),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processors of each worker; default: its share.", rich_help_panel=_WHERE)
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=1, help="MB of all workers together; default: 80 % of what is free.", rich_help_panel=_WHERE),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="New attempts at a video whose worker died.", rich_help_panel=_WHERE)
    ] = 2,
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster: its address, auto, or local.", rich_help_panel=_WHERE),
    ] = None,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs that each video takes of the Ray cluster.", rich_help_panel=_WHERE)
    ] = 0.0,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=apply_config,
            help="TOML file with these options; those given here win.",
            rich_help_panel=_HOW,
        ),
    ] = None,
) -> None:
    """Follow painted objects through many recorded videos; what is done is not done again.

    The mask of clips/dog.mp4 is clips/dog.png or clips/dog_mask.png. Exit code 1: some videos failed.

    Example: crwedge batch clips/ --out results/
    """
    from crwedge.batch.driver import run_batch
    from crwedge.batch.jobs import BatchOptions, make_jobs
    from crwedge.batch.open import open_results
    from crwedge.batch.option_values import parse_assignments
    from crwedge.batch.plan import plan_rows, select_rows
    from crwedge.cli.batch_progress import BatchProgress
    from crwedge.cli.signals import exit_code, graceful_shutdown
    from crwedge.core.errors import SettingError
    from crwedge.runtime.frame_queue import StopToken

    # Everything that can be refused is refused before the first output is touched.
    if gpus and ray is None:
        raise SettingError("--gpus is asked of a Ray cluster: add --ray ADDRESS")
    if ray is not None and (memory or (workers and ray != "local")):
        raise SettingError(
            "with --ray the cluster decides how many videos run at once: leave --workers and --memory out"
        )
    options = BatchOptions(model, engine, preset, parse_assignments(set_ or []), tuple(save or ("masks",)))
    jobs = make_jobs(select_rows(plan_rows(source, masks), only or []), options)
    results = open_results(out)

    def open_pool(count: int) -> Pool:
        if ray is not None:
            from crwedge.batch.ray_pool import RayPool

            cpus = workers * (threads or 1) if workers else None
            return RayPool(results, ray, threads or 1, gpus, retries, cpus)
        from crwedge.batch.machine import size_machine
        from crwedge.batch.pool import LocalPool

        machine = size_machine(count, workers, threads, memory)
        _log.info("%d workers with %d threads each", machine.workers, machine.threads)
        return LocalPool(results, machine, retries)

    stop = StopToken()
    with contextlib.ExitStack() as stack:
        stack.enter_context(graceful_shutdown(stop))
        progress = stack.enter_context(BatchProgress(len(jobs), stop))
        summary = run_batch(
            jobs, results, open_pool, overwrite=overwrite, on_plan=progress.plan, on_event=progress, stop=stop
        )
    _tell(summary, as_json)
    if code := exit_code(stop):
        raise typer.Exit(code)
    if summary.failed:
        raise typer.Exit(1)


def _tell(summary: Summary, as_json: bool) -> None:
    _log.info(
        "%d of %d videos done (%d before), %d failed, %d not begun; see %s",
        *(summary.done, summary.videos, summary.skipped, summary.failed, summary.waiting, summary.manifest),
    )
    if as_json:
        typer.echo(json.dumps(summary.to_dict()))
