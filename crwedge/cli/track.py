"""`crwedge track`: follow painted objects through a video or on a camera."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from crwedge.cli.config_option import apply_config

if TYPE_CHECKING:
    from crwedge.runtime.observer import Observer
    from crwedge.runtime.session_options import SessionOptions


def track(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Video file, folder of pictures, glob, camera0, v4l2:///dev/video0, csi://0, rtsp://..., -."
        ),
    ],
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="PNG with the objects of the first frame: value = object id; one a source."),
    ] = None,
    init: Annotated[
        list[Path] | None,
        typer.Option(help="What to follow: joints (*.json, *.mat) or a mask (PNG, as --mask); one a source."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundle, or shipped; default: that of `crwedge use`, else shipped.")
    ] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder (a PNG each frame), *.mp4, *.jsonl, -, window or mqtt://host/topic; may be repeated."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    preset: Annotated[str | None, typer.Option(help="Propagation protocol: edge (default), crw, dino, dinov3.")] = None,
    context: Annotated[
        int | None, typer.Option("--context", "--context-length", help="Frames of context beside the first (m).")
    ] = None,
    topk: Annotated[int | None, typer.Option(help="Neighbours kept for each cell (k).")] = None,
    radius: Annotated[
        float | None, typer.Option(help="Search radius in cells of 8 pixels; inf for everywhere.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Softmax temperature.")] = None,
    first_frame: Annotated[str | None, typer.Option(help="Search the first frame: global or restricted.")] = None,
    storage: Annotated[str | None, typer.Option(help="Stored features: float32 or float16 (half the memory).")] = None,
    size: Annotated[str | None, typer.Option(help="Compute at HEIGHTxWIDTH; masks keep the frame's size.")] = None,
    cells: Annotated[
        int | None,
        typer.Option(min=64, help="Cells of 8 x 8 pixels computed for a frame, around the objects (edge: 1600)."),
    ] = None,
    start: Annotated[
        int | None, typer.Option(min=0, help="Frame that the mask belongs to, from 0; tracking starts with it.")
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Go backwards, from --start or from the last frame.")
    ] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Pass over damaged packets of a film, and count them.")
    ] = False,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    resize_mask: Annotated[bool, typer.Option("--resize-mask", help="Resize a mask of another size.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that stand at --out.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Processors to use; default: all.")] = None,
    late: Annotated[str | None, typer.Option(help="Frames that come too fast: drop (cameras) or wait (files).")] = None,
    watchdog: Annotated[
        float, typer.Option(min=0.1, help="Open a camera again after so many seconds without a frame.")
    ] = 5.0,
    confidence: Annotated[
        bool | None,
        typer.Option("--confidence/--no-confidence", help="Estimate trust in each object; default: cameras."),
    ] = None,
    snapshot: Annotated[
        Path | None, typer.Option(help="Keep the state in this file: at the end, at SIGUSR1 and now and then.")
    ] = None,
    snapshot_every: Annotated[float, typer.Option(min=0.0, help="Seconds between snapshots.")] = 30.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --snapshot, where it exists.")] = False,
    resume_any: Annotated[
        bool, typer.Option("--resume-any", help="Go on from a snapshot of another source too.")
    ] = False,
    control: Annotated[
        Path | None, typer.Option(help="File that commands are added to: objects to add, correct or remove.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, help="Hold a rate: less context, then a smaller radius.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where each millisecond goes.")] = False,
    metrics: Annotated[str | None, typer.Option(help="[HOST:]PORT of /metrics (Prometheus) and /healthz.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="File for the events of cameras (JSON lines); default: stderr.")
    ] = None,
    ttt: Annotated[str | None, typer.Option(help="Test-time training: causal, or lookahead (masks come late).")] = None,
    ttt_budget: Annotated[
        str | None, typer.Option(help="Training in each window (800ms), or duty cycle (25%).")
    ] = None,
    ttt_set: Annotated[list[str] | None, typer.Option(help="key=value of test-time training; may be repeated.")] = None,
    save_adapted: Annotated[Path | None, typer.Option(help="Write the adapted encoder as a bundle.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(is_eager=True, callback=apply_config, help="TOML file with these options; those given here win."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Follow painted objects frame by frame. SIGINT and SIGTERM end in good order (exit codes 130 and 143).

    Example: crwedge track camera0 --mask init.png --out masks/ --out overlay.mp4
    """
    from crwedge.cli.explain import explanation
    from crwedge.cli.messages import messages_on_stderr
    from crwedge.cli.progress import FrameProgress
    from crwedge.cli.signals import exit_code, exit_on_broken_pipe, graceful_shutdown
    from crwedge.cli.ttt_options import finish, open_trainer
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size
    from crwedge.core.settings import check_choice
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

    # Everything that can be refused is refused before the first output is touched.
    check_choice("engine", engine, ENGINES)
    if late not in (None, "drop", "wait"):
        raise SettingError(f"--late {late!r} must be drop or wait")
    if ttt and (snapshot or len(source) > 1 or fps):
        raise SettingError("--ttt goes with one source, and neither with --snapshot nor with --fps")
    bundle = find_bundle(model)
    changes = {
        "context_length": context,
        "topk": topk,
        "radius": radius,
        "temperature": temperature,
        "first_frame": first_frame,
        "storage": storage,
        "cells": cells,
    }
    options = SessionOptions(
        model=bundle,
        engine=engine,
        preset=preset or default_preset(bundle),
        settings=preset_of(preset or default_preset(bundle)).with_changes(**changes),
        size=parse_size(size) if size else None,
        threads=threads,
        start=start,
        reverse=reverse,
        skip_damaged=skip_damaged,
        max_frames=max_frames,
        resize_mask=resize_mask,
        overwrite=overwrite,
        late=cast(Any, late),
        watchdog=watchdog,
        confidence=confidence,
        fps=fps,
        snapshot=snapshot,
        snapshot_every=snapshot_every,
        resume=resume,
        resume_any=resume_any,
        control=control,
    )
    outputs = [] if as_json and not out else out
    stop = StopToken()
    with contextlib.ExitStack() as stack:
        stack.enter_context(exit_on_broken_pipe())
        messages = stack.enter_context(messages_on_stderr())
        prompts = _prompts(source, mask, init)

        def say(text: str) -> None:
            messages.info("note: %s", text)

        trainer = open_trainer(ttt, ttt_budget, ttt_set, save_adapted, messages.info)
        events = EventLog(log)
        stack.callback(events.close)
        shared = None
        if len(source) > 1:
            opened = open_engine(bundle, engine, threads, say, options.size or bundle.manifest.size)
            stack.callback(opened.close)
            shared = LockedEngine(opened)
        sessions = [
            Session(
                name,
                prompts[number],
                outputs if shared is None else _numbered_outputs(outputs, number),
                options if shared is None else _options_of(options, number, len(source)),
                engine=shared,
                adapter=trainer,
                on_event=events,
                stop=stop,
            )
            for number, name in enumerate(source)
        ]
        messages.info("%s", describe_bundle(bundle, options.preset))
        observers: list[list[Observer]] = [[] for _ in sessions]
        if metrics is not None:
            from crwedge.runtime.ops.metrics import StreamMetrics, serve_metrics

            watched = [StreamMetrics(session) for session in sessions]
            observers = [[stream] for stream in watched]
            address = stack.enter_context(serve_metrics(metrics, watched, events.counts))
            messages.info("metrics: http://%s/metrics and /healthz", address)

        def snapshot_now() -> None:
            for session in sessions:
                session.take_snapshot()

        stack.enter_context(graceful_shutdown(stop, snapshot_now if snapshot is not None else None))
        if shared is None:
            observers[0].append(stack.enter_context(FrameProgress(sessions[0])))
            results = [sessions[0].run(observers[0])]
        else:
            results = run_sessions(sessions, observers)
        adapted = finish(trainer, save_adapted, messages.info) if trainer else None
        for session in sessions if explain else ():
            messages.info(explanation(session.name, session.stats, fps))
    if as_json:
        result = results[0] if len(results) == 1 else combine_results(results)
        typer.echo(json.dumps({**result, **({"ttt": adapted} if adapted else {})}))
    if code := exit_code(stop):
        raise typer.Exit(code)


def _prompts(sources: list[str], masks: list[Path] | None, inits: list[Path] | None) -> list[Any]:
    """The mask or the joints of each source; None where a snapshot has to have them."""
    from crwedge.core.errors import SettingError
    from crwedge.core.masks import read_mask
    from crwedge.core.prompts import read_prompt

    if masks and inits:
        raise SettingError("--mask and --init say the same: give one of them (--init takes masks too)")
    option, given = ("--init", inits) if inits else ("--mask", masks)
    if given and len(given) != len(sources):
        raise SettingError(
            f"{len(sources)} sources need as many masks: give {option} {len(sources)} times, in their order"
        )
    return [read_prompt(path) if inits else read_mask(path) for path in given or ()] or [None] * len(sources)


def _numbered_outputs(outputs: list[str] | None, number: int) -> list[str]:
    """`o.mp4` -> `o-1.mp4`; a folder or topic -> one below it; standard output is shared."""
    found = []
    for target in ["masks"] if outputs is None else outputs:
        path = Path(target)
        if target in ("-", "window"):
            found.append(target)
        elif "://" in target or path.suffix.lower() not in (".mp4", ".jsonl"):
            found.append(f"{target.rstrip('/')}/{number}")
        else:
            found.append(str(path.with_stem(f"{path.stem}-{number}")))
    return found


def _options_of(options: SessionOptions, number: int, count: int) -> SessionOptions:
    """Options of one session of several: files with its number, and its part of the threads."""
    from crwedge.runtime.propagation.attention import cpu_count

    def numbered(path: str | Path | None) -> Path | None:
        return Path(path).with_stem(f"{Path(path).stem}-{number}") if path is not None else None

    threads = max(1, (options.threads or cpu_count()) // count)
    return replace(options, threads=threads, snapshot=numbered(options.snapshot), control=numbered(options.control))
