"""What a camera costs: processor time and memory of each frame, and bytes of each mask, on real sequences.

    python benchmarks/fleet.py DAVIS [--frames 30] [--sequences blackswan cows] [--json benchmarks/results/fleet-cpu.json]

Processor time is that of the process (`time.process_time`), with one thread, so other programs of the machine lengthen it only
by what they take of its caches. The first five frames of a sequence, in which kernels are compiled and the context fills, do
not count. Bytes are those of the true masks of all frames: a line of JSON, that line with zlib, and a palette PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.labels import LabelMap
from crwedge.core.masks import read_label_ids, write_mask
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import davis_clips
from crwedge.eval.davis import true_mask
from crwedge.runtime.ops.stats import peak_rss_mb
from crwedge.runtime.sinks.jsonl import frame_facts
from crwedge.runtime.tracker_options import TrackerOptions

_WARM = 5


def processor_ms(root: Path, sequences: list[str], frames: int) -> dict[str, list[float]]:
    """Processor time of each frame in milliseconds, by sequence."""
    found: dict[str, list[float]] = {}
    for clip in davis_clips(root):
        if clip.name not in sequences:
            continue
        options = TrackerOptions(confidence=True)
        with cw.Tracker.open("shipped", "cpu", "edge", options, workers=1) as tracker:
            times = []
            for number, path in enumerate(clip.frames[:frames]):
                image = read_picture(path)
                begin = time.process_time()
                tracker.step(image, true_mask(clip.masks[0], "2017") if number == 0 else None)
                times.append(round(1e3 * (time.process_time() - begin), 2))
        found[clip.name] = times[_WARM:]
    return found


def mask_bytes(root: Path, scratch: Path) -> dict[str, dict[str, int]]:
    """Mean bytes of a mask, by sequence and form."""
    found = {}
    for folder in sorted(path for path in root.iterdir() if (path / "Annotations").is_dir()):
        line, packed, png = [], [], []
        for number, path in enumerate(sorted((folder / "Annotations").glob("*.png"))):
            ids = read_label_ids(path)
            objects = tuple(int(i) for i in np.unique(ids) if 0 < i < 255)
            labels = LabelMap(ids, number, objects, np.zeros((1, 1, 1), np.float32), pts=number / 24, time=0.0)
            text = json.dumps(frame_facts(labels), separators=(",", ":")).encode() + b"\n"
            line.append(len(text))
            packed.append(len(zlib.compress(text)))
            write_mask(scratch, ids)
            png.append(scratch.stat().st_size)
        found[folder.name] = {
            "json": round(float(np.mean(line))),
            "json_zlib": round(float(np.mean(packed))),
            "png": round(float(np.mean(png))),
        }
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--sequences", nargs="+", default=["blackswan", "cows", "soapbox"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = [round(value, 2) for value in os.getloadavg()]
    times = processor_ms(given.root, given.sequences, given.frames)
    every = np.concatenate([np.asarray(values) for values in times.values()])
    scratch = Path(f"/tmp/crwedge-fleet-{os.getpid()}.png")
    result: dict[str, Any] = {
        "command": f"python benchmarks/fleet.py DAVIS --frames {given.frames} --sequences {' '.join(given.sequences)}",
        "processor": _processor(),
        "preset": "edge, 1600 cells, confidence on, one thread, 480 x 854",
        "load_before": load,
        "mean_ms": round(float(every.mean()), 1),
        "p50_ms": round(float(np.percentile(every, 50)), 1),
        "p95_ms": round(float(np.percentile(every, 95)), 1),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "processor_ms": times,
        "mask_bytes": mask_bytes(given.root, scratch),
    }
    scratch.unlink(missing_ok=True)
    text = json.dumps(result, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
