"""`crwedge track`: follow painted objects through a video or on a camera."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer


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
        str | None, typer.Option(help="Bundle; default: the newest exported, else the shipped one.")
    ] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder (a PNG each frame), *.mp4, *.jsonl, -, window or mqtt://host/topic; may be repeated."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    preset: Annotated[str | None, typer.Option(help="Propagation protocol: crw, dino, dinov3.")] = None,
    context: Annotated[int | None, typer.Option(help="Frames of context beside the first (m).")] = None,
    topk: Annotated[int | None, typer.Option(help="Neighbours kept for each cell (k).")] = None,
    radius: Annotated[
        float | None, typer.Option(help="Search radius in cells of 8 pixels; inf for everywhere.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Softmax temperature.")] = None,
    first_frame: Annotated[str | None, typer.Option(help="Search the first frame: global or restricted.")] = None,
    storage: Annotated[str | None, typer.Option(help="Stored features: float32 or float16 (half the memory).")] = None,
    size: Annotated[str | None, typer.Option(help="Compute at HEIGHTxWIDTH; masks keep the frame's size.")] = None,
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
    control: Annotated[
        Path | None, typer.Option(help="File that commands are added to: objects to add, correct or remove.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, help="Hold a rate: less context, then radius, then size.")
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Follow painted objects frame by frame. SIGINT and SIGTERM end in good order (exit codes 130 and 143).

    Example: crwedge track camera0 --mask init.png --out masks/ --out overlay.mp4
    """
    from crwedge.cli.explain import explanation
    from crwedge.cli.follow import Follower, Options
    from crwedge.cli.signals import ending_in_good_order, exit_code
    from crwedge.cli.ttt_options import finish, open_trainer
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size
    from crwedge.core.joints import Joints
    from crwedge.core.settings import preset as preset_of
    from crwedge.runtime.backends.open import ENGINES
    from crwedge.runtime.bundle_lookup import find_bundle
    from crwedge.runtime.frame_queue import Halt
    from crwedge.runtime.ops.events import EventLog
    from crwedge.runtime.ops.metrics import serve_metrics

    # Everything that can be refused is refused before the first output is touched.
    if engine not in ENGINES:
        raise SettingError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if late not in (None, "drop", "wait"):
        raise SettingError(f"--late {late!r} must be drop or wait")
    if resume and snapshot is None:
        raise SettingError("--resume goes on from a snapshot: add --snapshot FILE")
    if ttt and (snapshot or len(source) > 1 or fps):
        raise SettingError("--ttt goes with one source, and neither with --snapshot nor with --fps")
    compute_size = parse_size(size) if size else None
    bundle = find_bundle(model)
    settings = preset_of(preset or bundle.manifest.preset).with_changes(
        context_length=context,
        topk=topk,
        radius=radius,
        temperature=temperature,
        first_frame=first_frame,
        storage=storage,
    )
    say = _say(as_json or "-" in (out or ()))
    streams = _streams(source, mask, init, out, snapshot, resume, control)
    if confidence and any(isinstance(stream.start, Joints) for stream in streams):
        raise SettingError("--confidence estimates the overlap of masks; joints come with a confidence of their own")
    trainer = streams[0].trainer = open_trainer(ttt, ttt_budget, ttt_set, save_adapted, say)
    if not bundle.manifest.trained:
        say(f"note: the encoder {bundle.manifest.name} is random, not trained; masks will drift")
    options = Options(
        bundle=bundle,
        engine=engine,
        settings=settings,
        preset=preset or bundle.manifest.preset,
        size=compute_size,
        threads=threads,
        max_frames=max_frames,
        resize_mask=resize_mask,
        overwrite=overwrite,
        late=cast(Any, late),
        watchdog=watchdog,
        snapshot_every=snapshot_every,
        resume=resume,
        confidence=confidence,
        fps=fps,
        as_json=as_json,
    )
    events, halt = EventLog(log), Halt()
    followers = [Follower(stream, options, events, halt, say) for stream in streams]

    def snapshot_now() -> None:
        for follower in followers:
            if follower.snapshots is not None:
                follower.snapshots.wanted = True

    with contextlib.ExitStack() as stack:
        stack.callback(events.close)
        if metrics is not None:
            where = stack.enter_context(serve_metrics(metrics, followers, events))
            say(f"metrics: http://{where}/metrics and /healthz")
        stack.enter_context(ending_in_good_order(halt, snapshot_now if snapshot is not None else None))
        try:
            results = _one(followers[0]) if len(followers) == 1 else _several(followers, options, halt, say)
        except BrokenPipeError:
            # Whoever read our output went away: no error of ours, and nothing more can be said on stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
    adapted = finish(trainer, save_adapted, say) if trainer else None
    if explain:
        for follower in followers:
            say(explanation(follower.name, follower.stats, fps))
    if as_json:
        result = results[0] if len(results) == 1 else _together(results)
        typer.echo(json.dumps({**result, **({"ttt": adapted} if adapted else {})}))
    if code := exit_code(halt):
        raise typer.Exit(code)


def _streams(
    sources: list[str],
    masks: list[Path] | None,
    inits: list[Path] | None,
    outs: list[str] | None,
    snapshot: Path | None,
    resume: bool,
    control: Path | None,
) -> Any:
    """A stream for each source; the files of several carry the stream's number in their names."""
    from crwedge.cli.follow import Stream
    from crwedge.core.errors import SettingError
    from crwedge.core.masks import read_mask
    from crwedge.core.prompts import read_prompt

    if masks and inits:
        raise SettingError("--mask and --init say the same: give one of them (--init takes masks too)")
    if not (masks or inits or resume):
        raise SettingError("the first frame needs a mask of the objects to follow: add --mask init.png")
    option, given = ("--init", inits) if inits else ("--mask", masks)
    if given and len(given) != len(sources):
        raise SettingError(
            f"{len(sources)} sources need as many masks: give {option} {len(sources)} times, in their order"
        )
    starts: list[Any] = [read_prompt(path) if inits else read_mask(path) for path in given or ()]
    starts = starts or [None] * len(sources)
    if len(sources) == 1:
        return [Stream(sources[0], starts[0], outs, snapshot, control)]
    return [
        Stream(
            source,
            starts[number],
            [_numbered(target, number) for target in outs] if outs else [f"masks/{number}"],
            snapshot.with_stem(f"{snapshot.stem}-{number}") if snapshot else None,
            control.with_stem(f"{control.stem}-{number}") if control else None,
        )
        for number, source in enumerate(sources)
    ]


def _numbered(target: str, number: int) -> str:
    """`o.mp4` -> `o-1.mp4`; a folder or topic -> one below it; standard output is shared."""
    if target in ("-", "window"):
        return target
    path = Path(target)
    return (
        f"{target.rstrip('/')}/{number}"
        if "://" in target or not path.suffix
        else str(path.with_stem(f"{path.stem}-{number}"))
    )


def _one(follower: Any) -> list[dict[str, Any]]:
    from crwedge.cli.progress import Progress

    with Progress("frames", None, quiet=False) as progress:

        def shown(stats: Any, frames: Any) -> None:
            most = follower.options.max_frames
            progress.total = min(n for n in (most, frames.length) if n) if most or frames.length else None
            progress.update(stats.tracked, f"{stats.fps:.1f} a second")

        return [follower.run(shown=shown)]


def _several(followers: list[Any], options: Any, halt: Any, say: Any) -> list[dict[str, Any]]:
    """Each stream in a thread of its own, all on one engine; the first error ends all."""
    from concurrent.futures import ThreadPoolExecutor, wait

    from crwedge.cli.follow import shared_engine

    def run(follower: Any, engine: Any) -> Any:
        try:
            return follower.run(engine)
        except BaseException:
            halt.set()
            raise

    with (
        shared_engine(options, say) as engine,
        ThreadPoolExecutor(len(followers), "crwedge-stream") as pool,
    ):
        waiting = [pool.submit(run, follower, engine) for follower in followers]
        # Short waits, so that the main thread can take signals.
        while wait(waiting, timeout=0.2).not_done:
            pass
        return [future.result() for future in waiting]


def _together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums of all streams, under the names of one, and each of them."""
    summed = {
        name: sum(result[name] for result in results)
        for name in ("frames_in", "tracked", "dropped", "failed", "written", "recovering", "restarts")
    }
    slowest = max(results, key=lambda result: result["latency_ms"]["p95"])
    return {
        **slowest,
        **summed,
        "fps": round(sum(result["fps"] for result in results), 3),
        "outputs": [target for result in results for target in result["outputs"]],
        "streams": results,
    }


def _say(as_json: bool) -> Any:
    """Plain words go to stdout, or to stderr where stdout is for a program."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    return say
