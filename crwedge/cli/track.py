"""`crwedge track`: follow painted objects through a video or on a camera."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from crwedge.cli.groups import Group, grouped
from crwedge.cli.options import AsJson, Config, EncoderOptions, Overwrite, SettingOptions, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from crwedge.cli.settings_option import SettingTable
    from crwedge.core.joints import Joints
    from crwedge.formats.prompt import AnnotatedMask
    from crwedge.runtime.observer import Observer
    from crwedge.runtime.session_options import SessionOptions

_log = logging.getLogger("crwedge")


@dataclass(frozen=True)
class InputOptions(Group):
    """What to follow."""

    panel: ClassVar[str] = "Input"
    prompts: Annotated[
        list[Path] | None,
        typer.Option(
            "--mask",
            "--init",
            metavar="FILE",
            help="Mask (PNG, value = id), joints (*.json, *.mat) or annotation (CVAT, COCO); one a source.",
        ),
    ] = None
    target: Target = None


@dataclass(frozen=True)
class OutputOptions(Group):
    """Where label maps go."""

    panel: ClassVar[str] = "Output"
    out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Folder (PNG), *.mp4, *.jsonl, x.zip?format=cvat, -, window or mqtt://host/topic; repeatable.",
        ),
    ] = None
    overwrite: Overwrite = False
    serve: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help="Page that shows and steers the run, as `crwedge serve`.")
    ] = None


@dataclass(frozen=True)
class ModelOptions(EncoderOptions):
    """Which encoder, and how it is used."""

    cells: Annotated[
        int | None, typer.Option(help="Cells of 8 x 8 pixels computed for a frame, around the objects (edge: 1600).")
    ] = None
    ttt: Annotated[
        str | None, typer.Option(metavar="MODE", help="Test-time training: causal, or lookahead (masks come late).")
    ] = None


@dataclass(frozen=True)
class StateOptions(Group):
    """Runs that go on after a stop."""

    panel: ClassVar[str] = "Long runs"
    snapshot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the state in this file: at the end, at SIGUSR1 and now and then."),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --snapshot, where it exists.")] = False


@dataclass(frozen=True)
class RunSettings:
    """Settings of the command itself."""

    explain: bool = False
    """Print where each millisecond goes, and what to change."""
    metrics: str | None = None
    """[HOST:]PORT of /metrics (Prometheus) and /healthz."""
    log: Path | None = None
    """File for the events of cameras, snapshots and commands (JSON lines); by default stderr."""
    save_adapted: Path | None = None
    """Folder for the encoder that test-time training adapted, as a bundle."""
    ttt_budget: str | None = None
    """Training in each window (800ms, 2s), or its share of the time (25%)."""
    ttt_recipe: Literal["own", "appendix"] = "own"
    """Where the settings of test-time training start: the package's own, or the values of the paper's appendix."""


def setting_table() -> SettingTable:
    """The keys of `--set`."""
    from crwedge.adapt.settings import TestTimeSettings
    from crwedge.cli.settings_option import SettingTable
    from crwedge.core.settings import PropagationSettings
    from crwedge.runtime.session_options import SessionOptions

    options = (
        "model",
        "engine",
        "preset",
        "settings",
        "overwrite",
        "snapshot",
        "resume",
        "preview",
        "targets",
    )
    table = SettingTable("crwedge track").add(SessionOptions, options)
    table.add(PropagationSettings, ("cells",), default="(of the preset)")
    return table.add(RunSettings).add(TestTimeSettings, ("mode",), prefix="ttt-")


@grouped
def track(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Video file, folder of pictures, glob, camera0, v4l2:///dev/video0, csi://0, rtsp://..., -."
        ),
    ],
    given: InputOptions,
    outputs: OutputOptions,
    model: ModelOptions,
    state: StateOptions,
    more: SettingOptions,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Follow painted objects frame by frame. SIGINT and SIGTERM end the run cleanly (exit codes 130 and 143).

    Example: crwedge track camera0 --mask init.png --out masks/ --out overlay.mp4
    """
    from crwedge.adapt.settings import TestTimeSettings
    from crwedge.cli.explain import explanation
    from crwedge.cli.page import served_session
    from crwedge.cli.progress import FrameProgress
    from crwedge.cli.signals import exit_code, exit_on_broken_pipe, graceful_shutdown
    from crwedge.cli.ttt_options import finish, open_trainer
    from crwedge.core.errors import SettingError
    from crwedge.core.settings import PropagationSettings, check_choice
    from crwedge.core.settings import preset as preset_of
    from crwedge.runtime.backends.engine import LockedEngine
    from crwedge.runtime.backends.open import ENGINES, open_engine
    from crwedge.runtime.bundle_lookup import default_preset, find_bundle
    from crwedge.runtime.bundle_scores import describe_bundle
    from crwedge.runtime.events import EventLog
    from crwedge.runtime.frame_queue import StopToken
    from crwedge.runtime.session import Session
    from crwedge.runtime.session_options import SessionOptions
    from crwedge.runtime.sessions import combine_results, run_sessions
    from crwedge.runtime.sources.open import is_recorded
    from crwedge.runtime.written_files import check_written

    # Everything that can be refused is refused before the first output is touched.
    check_choice("engine", model.engine, ENGINES)
    values = setting_table().parse(more.settings)
    run = RunSettings(**values[RunSettings])
    bundle = find_bundle(model.model)
    preset = model.preset or default_preset(bundle)
    options = SessionOptions(
        model=bundle,
        engine=model.engine,
        preset=preset,
        settings=preset_of(preset).with_changes(cells=model.cells, **values[PropagationSettings]),
        overwrite=outputs.overwrite,
        snapshot=state.snapshot,
        resume=state.resume,
        targets=tuple(given.target or ()),
        preview=outputs.serve is not None and not is_recorded(source[0]),
        **values[SessionOptions],
    )
    if outputs.serve is not None and len(source) > 1:
        raise SettingError("--serve shows one source: start a run for each")
    if model.ttt and (options.snapshot or len(source) > 1 or options.fps):
        raise SettingError("--ttt takes one source, and cannot be combined with --snapshot or --set fps")
    trainer = open_trainer(model.ttt, run.ttt_budget, run.ttt_recipe, values[TestTimeSettings], run.save_adapted)
    prompts = _prompts(source, given.prompts, options.start)
    targets = [] if as_json and not outputs.out else outputs.out
    for number, name in enumerate(source):
        check_written(options, targets, name, given.prompts[number] if given.prompts else None, run.log)
    stop, events = StopToken(), EventLog(run.log)
    with contextlib.ExitStack() as stack:
        stack.enter_context(exit_on_broken_pipe())
        stack.callback(events.close)
        shared = None
        if len(source) > 1:
            opened = open_engine(bundle, model.engine, options.threads, options.size or bundle.manifest.size)
            stack.callback(opened.close)
            shared = LockedEngine(opened)
        sessions = [
            Session(
                name,
                prompts[number],
                targets if shared is None else _numbered_outputs(targets, number),
                options if shared is None else _options_of(options, number, len(source)),
                engine=shared,
                adapter=trainer,
                on_event=events,
                stop=stop,
            )
            for number, name in enumerate(source)
        ]
        _log.info("%s", describe_bundle(bundle, options.preset))
        observers: list[list[Observer]] = [[] for _ in sessions]
        if outputs.serve is not None:
            stack.enter_context(served_session(sessions[0], outputs.serve))
        if run.metrics is not None:
            from crwedge.runtime.ops.metrics import StreamMetrics, serve_metrics

            watched = [StreamMetrics(session) for session in sessions]
            observers = [[stream] for stream in watched]
            address = stack.enter_context(serve_metrics(run.metrics, watched, events.counts))
            _log.info("metrics: http://%s/metrics and /healthz", address)

        def snapshot_now() -> None:
            for session in sessions:
                session.take_snapshot()

        stack.enter_context(graceful_shutdown(stop, snapshot_now if options.snapshot is not None else None))
        if shared is None:
            observers[0].append(stack.enter_context(FrameProgress(sessions[0])))
            results = [sessions[0].run(observers[0])]
        else:
            results = run_sessions(sessions, observers)
        adapted = finish(trainer, run.save_adapted) if trainer else None
        for session in sessions if run.explain else ():
            _log.info(explanation(session.name, session.stats, options.fps))
    if as_json:
        result = results[0] if len(results) == 1 else combine_results(results)
        typer.echo(json.dumps({**result, **({"ttt": adapted} if adapted else {})}))
    if code := exit_code(stop):
        raise typer.Exit(code)


def _prompts(
    sources: list[str], paths: list[Path] | None, start: int | None
) -> Sequence[NDArray[np.uint8] | Joints | AnnotatedMask | None]:
    """The mask or the joints of each source; None where a snapshot has to have them."""
    from crwedge.core.errors import SettingError
    from crwedge.formats.prompt import read_prompt

    if paths and len(paths) != len(sources):
        raise SettingError(
            f"{len(sources)} sources need as many masks or joint files: give --mask {len(sources)} times, in their order"
        )
    return [read_prompt(path, start) for path in paths] if paths else [None] * len(sources)


def _numbered_outputs(outputs: list[str] | None, number: int) -> list[str]:
    """`o.mp4` -> `o-1.mp4`; a folder or topic -> one below it; standard output is shared."""
    from crwedge.formats.open import split_format

    found = []
    for target in ["masks"] if outputs is None else outputs:
        if target in ("-", "window"):
            found.append(target)
        elif "://" in target:
            found.append(f"{target.rstrip('/')}/{number}")
        else:
            place, form = split_format(target)
            path = Path(place)
            files = (".mp4", ".jsonl", ".xml", ".json", ".zip")
            path = path.with_stem(f"{path.stem}-{number}") if path.suffix.lower() in files else path / str(number)
            found.append(f"{path}?format={form}" if form else str(path))
    return found


def _options_of(options: SessionOptions, number: int, count: int) -> SessionOptions:
    """Options of one session of several: files with its number, and its part of the threads."""
    from crwedge.runtime.propagation.attention import cpu_count

    def numbered(path: str | Path | None) -> Path | None:
        return Path(path).with_stem(f"{Path(path).stem}-{number}") if path is not None else None

    threads = max(1, (options.threads or cpu_count()) // count)
    return replace(
        options,
        threads=threads,
        snapshot=numbered(options.snapshot),
        control=numbered(options.control),
        save_target=numbered(options.save_target),
    )
