"""A long stream at the shipped settings: the time from each frame's arrival to its last written output, as a histogram.

    python benchmarks/soak.py SEQUENCE [--seconds 600] [--size 480x640] [--out benchmarks/results/soak-cpu.json]
    python benchmarks/soak.py --from benchmarks/results/soak-cpu.json --plot docs/pictures/latency.png

SEQUENCE has JPEGImages/ and Annotations/. A process of its own serves its frames, resized, over HTTP as motion JPEG at 30
frames a second, forwards and backwards without end, so that nothing jumps. This process tracks them as `crwedge track URL
--mask MASK --out masks.jsonl --snapshot state.safetensors` does, without any other option, and stops after `--seconds`. The
time of a frame begins when it is decoded, and ends when its line is written. The first seconds, which compile and warm up,
count too.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import crwedge as cw
from benchmarks.camera import RATE, film_camera, first_mask
from benchmarks.streaming import processor
from crwedge.core.images import parse_size
from crwedge.eval.datasets import davis_clips
from crwedge.runtime.ops.stats import Samples, peak_rss_mb
from crwedge.runtime.propagation.attention import cpu_count

BIN_MS = 10
PARTS = 10
RESULT = Path(__file__).parent / "results" / "soak-cpu.json"


def serve(paths: list[Path], size: tuple[int, int], pipe: Connection) -> None:
    """Be the camera until the pipe's other end is closed."""
    with film_camera(paths, size) as url:
        pipe.send(url)
        pipe.poll(None)


class EverySample(Samples):
    """The statistics keep the last 8,192 frames; this keeps all."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def append(self, value: float) -> None:
        """Add a value."""
        super().append(value)
        self.values.append(value)


def soak(url: str, mask: np.ndarray, seconds: float) -> dict[str, Any]:
    """Track for some seconds; what the command reports, the histogram, and percentiles of each tenth of the frames."""
    with tempfile.TemporaryDirectory() as folder:
        options = cw.SessionOptions(snapshot=Path(folder) / "state.safetensors")
        session = cw.Session(url, mask, [Path(folder) / "masks.jsonl"], options)
        session.stats.latency_ms = latency = EverySample()
        timer = threading.Timer(seconds, session.stop)
        timer.start()
        report = session.run()
        timer.cancel()
    return {
        "report": {name: report[name] for name in ("frames_in", "tracked", "dropped", "fps", "stages_ms")},
        "peak_rss_mb": round(peak_rss_mb()),
        **histogram(np.array(latency.values)),
    }


def histogram(latency: np.ndarray) -> dict[str, Any]:
    """Frames in bins of 10 ms, without the empty bins; percentiles of all frames, and of each tenth of them.

    Args:
        latency: (frames,) milliseconds, in the order of the frames.
    """
    numbers, frames = np.unique((latency // BIN_MS).astype(int), return_counts=True)
    bins = {"bin_ms": BIN_MS, "from_ms": (BIN_MS * numbers).tolist(), "frames": frames.tolist()}
    tenths = [percentiles(part) for part in np.array_split(latency, PARTS)]
    return {**bins, "latency_ms": percentiles(latency), "max_ms": round(float(latency.max()), 1), "tenths": tenths}


def percentiles(values: np.ndarray) -> dict[str, float]:
    """p50, p95 and p99 of (frames,) milliseconds."""
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)}


def plot(result: dict[str, Any], path: Path) -> None:
    """The histogram up to three times p99, and the percentiles of each tenth of the frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    width, most = result["bin_ms"], 3 * result["latency_ms"]["p99"]
    shown = [pair for pair in zip(result["from_ms"], result["frames"], strict=True) if pair[0] < most]
    beyond = sum(result["frames"]) - sum(frames for _, frames in shown)
    left.bar(*zip(*shown, strict=True), width, align="edge", color="tab:blue", edgecolor="tab:blue", linewidth=0.7)
    left.set_yscale("log")
    for name, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
        value = result["latency_ms"][name]
        left.axvline(value, color="black", linestyle=style, linewidth=1, label=f"{name} {value:.0f} ms")
    title = f"{sum(result['frames']):,} frames; {beyond} beyond this axis, up to {result['max_ms'] / 1e3:.1f} s"
    left.set(xlabel="latency, ms", ylabel=f"frames in {width} ms", title=title, xlim=(0, most), ylim=(0.5, None))
    left.legend(fontsize=8)
    tenths = result["tenths"]
    for name, style in (("p50", "o-"), ("p95", "o--")):
        right.plot(range(1, len(tenths) + 1), [part[name] for part in tenths], style, color="tab:blue", label=name)
    right.set(xlabel="tenth of the frames", ylabel="latency, ms", title="in the course of the run")
    right.set_ylim(0, 1.2 * math.ceil(max(part["p95"] for part in tenths)))
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run, print, save JSON; or draw what was saved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--size", type=parse_size, default=(480, 640))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--from", dest="result", type=Path, help="a saved result, to draw")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if (options.sequence is None) == (options.result is None):
        parser.error("give SEQUENCE, or --from FILE with --plot FILE")
    if options.sequence is not None:
        load = os.getloadavg()[0]
        clip = davis_clips(options.sequence)[0]
        mask = first_mask(clip, options.size)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        camera = context.Process(target=serve, args=(list(clip.frames), options.size, theirs))
        camera.start()
        theirs.close()
        with ours:
            found = soak(ours.recv(), mask, options.seconds)
        camera.join()
        protocol = {
            "device": f"{processor()}, {cpu_count()} processors, numpy {np.__version__}",
            "load_before": round(load, 2),
            "command": " ".join(["python", *sys.argv]),
            "clip": f"{clip.name}, {len(clip.frames)} frames, to and fro",
            "size": options.size,
            "rate": RATE,
            "seconds": options.seconds,
        }
        options.out.write_text(json.dumps({**protocol, **found}) + "\n")
        print(json.dumps({**found["report"], "latency_ms": found["latency_ms"]}))
    if options.plot is not None:
        plot(json.loads((options.result or options.out).read_text()), options.plot)


if __name__ == "__main__":
    main()
