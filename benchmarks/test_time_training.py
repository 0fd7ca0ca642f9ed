"""What test-time training costs the frame path: runs without and with it in turn, in processes of their own.

    python -m benchmarks.test_time_training --size 240x427 --frames 60 --rounds 5

The trainer is lowered in priority and has one thread; the tracker has one too (`--threads`), so that two processors are enough
for both. On a machine with other work the figures swing by more than what is measured: look at the range over the rounds.
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
    """Track a rendered scene, and give each frame's latency in milliseconds."""
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
    latencies = []
    with Tracker.open(None, "cpu", settings, adapter=trainer, workers=arguments.threads) as tracker:
        for index in range(arguments.warm + arguments.frames):
            if index == arguments.warm and trainer is not None:
                end = time.monotonic() + 120
                # What is measured is training, not the start of its process.
                while trainer.stats.updates == 0 and not trainer.stats.stopped and time.monotonic() < end:
                    time.sleep(0.1)
            begun = time.perf_counter()
            tracker.step(scene.frames[index % 48], scene.masks[0] if index == 0 else None)
            if index >= arguments.warm:
                latencies.append(1e3 * (time.perf_counter() - begun))
    return {"latencies": latencies, "training": None if trainer is None else trainer.stats.to_dict()}


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
        p95 = [float(np.percentile(run["latencies"], 95)) for run in runs[mode]]
        p50 = [float(np.percentile(run["latencies"], 50)) for run in runs[mode]]
        base = [float(np.percentile(run["latencies"], 95)) for run in runs[modes[0]]]
        ratios = [a / b for a, b in zip(p95, base, strict=True)]
        training = [run["training"] or {} for run in runs[mode]]
        rows.append(
            {
                "mode": mode,
                "p50_ms": round(statistics.median(p50), 1),
                "p95_ms": round(statistics.median(p95), 1),
                "p95_range": [round(min(p95), 1), round(max(p95), 1)],
                "p95_ratio": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
                "windows": sum(t.get("windows", 0) for t in training),
                "swaps": sum(t.get("swaps", 0) for t in training),
            }
        )
        print(rows[-1])
    settings = {key: value for key, value in vars(arguments).items() if key != "one"}
    load = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps({"settings": settings, "cpus": os.cpu_count(), "load": load, "rows": rows}))


if __name__ == "__main__":
    main()
