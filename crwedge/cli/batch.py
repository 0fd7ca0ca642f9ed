"""`crwedge batch`: follow painted objects through many recorded videos."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from crwedge.cli.groups import Group, grouped
from crwedge.cli.options import AsJson, Config, EncoderOptions, Overwrite, SettingOptions

if TYPE_CHECKING:
    from crwedge.batch.driver import Pool, Summary
    from crwedge.cli.settings_option import SettingTable

_log = logging.getLogger("crwedge")


@dataclass(frozen=True)
class InputOptions(Group):
    """Which videos."""

    panel: ClassVar[str] = "Input"
    masks: Annotated[str | None, typer.Option(help="Folder of the masks; default: beside the videos.")] = None
    target: Annotated[
        str | None, typer.Option(metavar="FILE", help="Search these objects in videos without a mask (*.target).")
    ] = None
    only: Annotated[list[str] | None, typer.Option(help="Names of videos to take, with * and ?; may be repeated.")] = (
        None
    )


@dataclass(frozen=True)
class ResultOptions(Group):
    """Where the results go."""

    panel: ClassVar[str] = "Results"
    out: Annotated[str, typer.Option(help="Folder of the results and of manifest.jsonl.")] = "runs/batch"
    save: Annotated[
        list[str] | None,
        typer.Option(help="Each video's outputs: masks (default), *.mp4, *.jsonl; may be repeated."),
    ] = None
    overwrite: Overwrite = False


@dataclass(frozen=True)
class WorkerOptions(Group):
    """How many videos at once, and where."""

    panel: ClassVar[str] = "Workers"
    workers: Annotated[int | None, typer.Option(min=1, help="Videos at once; default: by processors and memory.")] = (
        None
    )
    threads: Annotated[int | None, typer.Option(min=1, help="Processors of each worker; default: its share.")] = None
    memory: Annotated[
        float | None, typer.Option(min=1, help="MB of all workers together; default: 80 % of what is free.")
    ] = None
    retries: Annotated[int, typer.Option(min=0, help="New attempts at a video whose worker died.")] = 2
    ray: Annotated[str | None, typer.Option(help="Ray cluster: its address, auto, or local.")] = None
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that each video takes of the Ray cluster.")] = 0.0


def setting_table() -> SettingTable:
    """The keys of `--set`."""
    from crwedge.batch.job import VIDEO_OPTIONS
    from crwedge.cli.settings_option import SettingTable
    from crwedge.core.settings import PropagationSettings
    from crwedge.runtime.session_options import SessionOptions

    others = [item.name for item in fields(SessionOptions) if item.name not in VIDEO_OPTIONS]
    table = SettingTable("crwedge batch").add(SessionOptions, others)
    return table.add(PropagationSettings, default="(of the preset)")


@grouped
def batch(
    source: Annotated[
        list[str],
        typer.Argument(help="Folders of videos, videos, folders of frames, or one table: *.csv, *.jsonl."),
    ],
    given: InputOptions,
    wanted: ResultOptions,
    model: EncoderOptions,
    place: WorkerOptions,
    more: SettingOptions,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Follow painted objects through many recorded videos; what is done is not done again.

    The mask of clips/dog.mp4 is clips/dog.png or clips/dog_mask.png. Exit code 1: some videos failed.

    Example: crwedge batch clips/ --out results/
    """
    from crwedge.batch.driver import run_batch
    from crwedge.batch.jobs import BatchOptions, make_jobs
    from crwedge.batch.open import open_results
    from crwedge.batch.plan import plan_rows, select_rows
    from crwedge.cli.batch_progress import BatchProgress
    from crwedge.cli.signals import exit_code, graceful_shutdown
    from crwedge.core.errors import SettingError
    from crwedge.runtime.frame_queue import StopToken
    from crwedge.runtime.target import TARGET_SUFFIX

    # Everything that can be refused is refused before the first output is touched.
    if given.target is not None and not given.target.lower().endswith(TARGET_SUFFIX):
        raise SettingError(f"--target {given.target} must be a file *{TARGET_SUFFIX}: make it with track --save-target")
    workers, threads, memory, ray = place.workers, place.threads, place.memory, place.ray
    if place.gpus and ray is None:
        raise SettingError("--gpus is asked of a Ray cluster: add --ray ADDRESS")
    if ray is not None and (memory or (workers and ray != "local")):
        raise SettingError(
            "with --ray the cluster decides how many videos run at once: leave --workers and --memory out"
        )
    changes = setting_table().parse_plain(more.settings)
    options = BatchOptions(model.model, model.engine, model.preset, changes, tuple(wanted.save or ("masks",)))
    jobs = make_jobs(select_rows(plan_rows(source, given.masks, given.target), given.only or []), options)
    results = open_results(wanted.out)

    def open_pool(count: int) -> Pool:
        if ray is not None:
            from crwedge.batch.ray_pool import RayPool

            cpus = workers * (threads or 1) if workers else None
            return RayPool(results, ray, threads or 1, place.gpus, place.retries, cpus)
        from crwedge.batch.machine import size_machine
        from crwedge.batch.pool import LocalPool

        machine = size_machine(count, workers, threads, memory)
        _log.info("workers: %d, threads of each: %d", machine.workers, machine.threads)
        return LocalPool(results, machine, place.retries)

    stop = StopToken()
    with contextlib.ExitStack() as stack:
        stack.enter_context(graceful_shutdown(stop))
        progress = stack.enter_context(BatchProgress(len(jobs), stop))
        summary = run_batch(
            jobs, results, open_pool, overwrite=wanted.overwrite, on_plan=progress.plan, on_event=progress, stop=stop
        )
    _tell(summary, as_json)
    if code := exit_code(stop):
        raise typer.Exit(code)
    if summary.failed:
        raise typer.Exit(1)


def _tell(summary: Summary, as_json: bool) -> None:
    _log.info(
        "%d of %d videos done (%d before), %d failed, %d not started; see %s",
        *(summary.done, summary.videos, summary.skipped, summary.failed, summary.waiting, summary.manifest),
    )
    if as_json:
        typer.echo(json.dumps(summary.to_dict()))
