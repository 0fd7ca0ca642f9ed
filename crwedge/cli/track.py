"""`crwedge track`: follow painted objects through a video or on a camera."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def track(
    source: Annotated[str, typer.Argument(help="Video file, folder of pictures, glob, camera0, v4l2:///dev/video0.")],
    mask: Annotated[Path, typer.Option(help="PNG with the objects of the first frame: value = object id.")],
    model: Annotated[
        str | None, typer.Option(help="Bundle; default: the newest exported, else the shipped one.")
    ] = None,
    out: Annotated[
        list[str] | None, typer.Option(help="Folder (a PNG each frame), *.mp4, *.jsonl or window; may be repeated.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
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
    ttt: Annotated[str | None, typer.Option(help="Test-time training: causal, or lookahead (masks come late).")] = None,
    ttt_budget: Annotated[
        str | None, typer.Option(help="Training in each window (800ms), or duty cycle (25%).")
    ] = None,
    ttt_set: Annotated[list[str] | None, typer.Option(help="key=value of test-time training; may be repeated.")] = None,
    save_adapted: Annotated[Path | None, typer.Option(help="Write the adapted encoder as a bundle.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Follow painted objects frame by frame.

    Example: crwedge track camera0 --mask init.png --out masks/ --out overlay.mp4
    """
    from crwedge.cli.ttt_options import finish, open_trainer
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size
    from crwedge.core.masks import check_mask, read_mask
    from crwedge.core.masks import resize_mask as resized
    from crwedge.core.settings import preset as preset_of
    from crwedge.runtime.engine import ENGINES
    from crwedge.runtime.models import find_bundle
    from crwedge.runtime.sinks import open_sink
    from crwedge.runtime.sources import open_source
    from crwedge.runtime.stream import StreamStats, peak_rss_mb, run_stream
    from crwedge.runtime.tracker import Tracker

    # Everything that can be refused is refused before the first output is touched.
    if engine not in ENGINES:
        raise SettingError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
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
    ids = read_mask(mask)
    say = _say(as_json)
    trainer = open_trainer(ttt, ttt_budget, ttt_set, save_adapted, say)
    if not bundle.manifest.trained:
        say(f"note: the encoder {bundle.manifest.name} is random, not trained; masks will drift")
    stats = StreamStats()
    with open_source(source) as frames:
        targets = out or ([] if as_json else ["window" if frames.live else "masks"])
        sinks = [open_sink(target, frames.fps, overwrite) for target in targets]
        first = _Peek(trainer.ahead(frames) if trainer else frames)
        height, width = first.size
        if resize_mask and ids.shape != (height, width):
            ids = resized(ids, (height, width))
        ids = check_mask(ids, (height, width))
        with Tracker.open(bundle, engine, settings, compute_size, trainer, workers=threads) as tracker:
            _run(tracker, first, sinks, ids, max_frames, stats, say, run_stream)
            protocol = {"preset": preset or bundle.manifest.preset, **settings.to_dict()}
            protocol["size"] = list(tracker.size) if tracker.size else None
            engine_name = tracker.engine.name
    where = ", ".join(targets) or "nowhere (no --out)"
    say(f"{stats.tracked} frames at {stats.fps:.2f} a second on {engine_name}; written to {where}")
    adapted = finish(trainer, save_adapted, say) if trainer else None
    if as_json:
        result: dict[str, Any] = {
            "frames_in": stats.frames_in,
            "tracked": stats.tracked,
            "dropped": stats.dropped,
            "failed": stats.failed,
            "fps": round(stats.fps, 3),
            "latency_ms": stats.percentiles(),
            "stage_shares": stats.shares(),
            "peak_rss_mb": round(peak_rss_mb(), 1),
            "engine": engine_name,
            "protocol": protocol,
            "model": {"name": bundle.manifest.name, "sha256": bundle.sha256, "trained": bundle.manifest.trained},
            "outputs": targets,
            **({"ttt": adapted} if adapted else {}),
        }
        typer.echo(json.dumps(result))


class _Peek:
    """A source whose first frame was looked at, so that a mask can be checked against its size."""

    def __init__(self, source: Any) -> None:
        self._frames = iter(source)
        self._first = next(self._frames)
        self.size: tuple[int, int] = self._first.image.shape[:2]
        self.length: int | None = source.length
        self.name, self.live, self.fps = source.name, source.live, source.fps

    def __iter__(self) -> Any:
        yield self._first
        yield from self._frames


def _run(
    tracker: Any, source: Any, sinks: Any, ids: Any, max_frames: int | None, stats: Any, say: Any, run_stream: Any
) -> None:
    from crwedge.cli.progress import Progress

    total = source.length
    if max_frames is not None:
        total = min(total, max_frames) if total else max_frames
    said = False
    with Progress("frames", total, quiet=False) as progress:

        def shown(labels: Any, so_far: Any) -> None:
            nonlocal said
            if not said:
                said = True
                say(tracker.memory_statement)
            progress.update(so_far.tracked, f"{so_far.fps:.1f} a second")

        run_stream(tracker, source, sinks, ids, max_frames, shown, stats)


def _say(as_json: bool) -> Any:
    """Plain words go to stdout, or to stderr where stdout is for a program."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    return say
