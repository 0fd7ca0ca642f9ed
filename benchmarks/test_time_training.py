"""What test-time training costs the frame path: runs without and with it in turn, in processes of their own.

    python -m benchmarks.test_time_training --size 240x427 --frames 60 --rounds 5

The trainer is lowered in priority and has one thread; the tracker has one too (`--threads`), so that two processors are enough
for both. On a machine with other work the clock swings by more than what is measured. `cpu_` figures are then the better ones:
processor time of the tracker's process, its side thread included, which leaves out only what caches and memory cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np


def one_run(mode: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Track a rendered scene, and give each frame's milliseconds by the clock and of the processor."""
    from crwedge.adapt.settings import parse_changes
    from crwedge.adapt.trainer import TestTimeTrainer
    from crwedge.core.images import parse_size
    from crwedge.core.scene import render_scene
    from crwedge.core.settings import preset
    from crwedge.runtime.tracker import Tracker

    height, width = parse_size(arguments.size)
    scene = render_scene(48, height, width)
    settings = preset("crw").with_changes(context_length=arguments.context, first_frame="restricted")
    trainer = None
    if mode != "off":
        trainer = TestTimeTrainer(say=print, **{"context": mode, **parse_changes(arguments.set)})
    latencies, processor = [], []
    with Tracker.open(None, "cpu", settings, adapter=trainer, workers=arguments.threads) as tracker:
        for index in range(arguments.warm + arguments.frames):
            if index == arguments.warm and trainer is not None:
                end = time.monotonic() + 120
                # What is measured is training, not the start of its process.
                while trainer.stats.updates == 0 and not trainer.stats.stopped and time.monotonic() < end:
                    time.sleep(0.1)
            begun, spent = time.perf_counter(), time.process_time()
            tracker.step(scene.frames[index % 48], scene.masks[0] if index == 0 else None)
            if index >= arguments.warm:
                latencies.append(1e3 * (time.perf_counter() - begun))
                processor.append(1e3 * (time.process_time() - spent))
    return {"clock": latencies, "cpu": processor, "training": None if trainer is None else trainer.stats.to_dict()}


def figures(kind: str, runs: list[list[float]], base: list[list[float]]) -> dict[str, Any]:
    """p50 and p95 over all frames (median of the runs), and the p95 against that of the run beside it."""
    p50, p95 = ([float(np.percentile(run, q)) for run in runs] for q in (50, 95))
    ratios = [a / float(np.percentile(b, 95)) for a, b in zip(p95, base, strict=True)]
    return {
        f"{kind}_p50_ms": round(statistics.median(p50), 1),
        f"{kind}_p95_ms": round(statistics.median(p95), 1),
        f"{kind}_p95_ratio": round(statistics.median(ratios), 3),
        f"{kind}_ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--size", default="480x854")
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--warm", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="key=value of test-time training: updates=5, nice=0")
    parser.add_argument("--modes", default="off,recompute,keep", help="off, and rules for the context")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.one, arguments)))
        return
    modes = arguments.modes.split(",")
    runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
    for number in range(arguments.rounds):
        for mode in modes if number % 2 == 0 else modes[::-1]:
            command = [sys.executable, "-m", "benchmarks.test_time_training", "--one", mode, *sys.argv[1:]]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            runs[mode].append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for mode in modes:
        training = [run["training"] or {} for run in runs[mode]]
        row: dict[str, Any] = {"mode": mode}
        for kind in ("clock", "cpu"):
            row |= figures(kind, [run[kind] for run in runs[mode]], [run[kind] for run in runs[modes[0]]])
        row |= {name: sum(t.get(name, 0) for t in training) for name in ("windows", "undone", "swaps", "dropped")}
        rows.append(row)
        print(rows[-1])
    settings = {key: value for key, value in vars(arguments).items() if key != "one"}
    load = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps({"settings": settings, "cpus": os.cpu_count(), "load": load, "rows": rows}))


if __name__ == "__main__":
    main()
