"""What test-time training costs the frame path: two trackers in one process, with it and without, frame by frame in turn.

    python -m benchmarks.test_time_training --size 240x427 --frames 60

Each has one thread; the trainer's process, lowered in priority, has another. `clock` is what a person waits, and swings with
whatever else runs: look at it on a quiet machine. `thread` is processor time of the frame path alone, a change of engine and
of the context's features included; it leaves out waiting, as for a lock, and holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from typing import Any

import numpy as np


def paired_run(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Follow a rendered scene with two trackers in turn; milliseconds of each, by the clock and of the frame path's thread."""
    from crwedge.adapt.settings import parse_changes
    from crwedge.adapt.trainer import TestTimeTrainer
    from crwedge.core.images import parse_size
    from crwedge.core.scene import render_scene
    from crwedge.core.settings import preset
    from crwedge.runtime.bundle_lookup import shipped_bundle
    from crwedge.runtime.tracker import Tracker

    height, width = parse_size(arguments.size)
    scene = render_scene(48, height, width)
    settings = preset("crw").with_changes(context_length=arguments.context, first_frame="restricted")
    trainer = TestTimeTrainer(**parse_changes(arguments.set))
    times: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
    with (
        Tracker.open(shipped_bundle(), "cpu", settings, workers=1) as off,
        Tracker.open(shipped_bundle(), "cpu", settings, adapter=trainer, workers=1) as on,
    ):
        for index in range(arguments.warm + arguments.frames):
            if index == arguments.warm:
                end = time.monotonic() + 120
                # What is measured is training, not the start of its process.
                while trainer.stats.updates == 0 and not trainer.stats.stopped and time.monotonic() < end:
                    time.sleep(0.1)
            pair = (("off", off), ("on", on))
            for name, tracker in pair if index % 2 else pair[::-1]:
                begun, spent = time.perf_counter(), time.thread_time()
                tracker.step(scene.frames[index % 48], scene.masks[0] if index == 0 else None)
                if index >= arguments.warm:
                    times[name].append((1e3 * (time.perf_counter() - begun), 1e3 * (time.thread_time() - spent)))
    return {name: np.array(rows) for name, rows in times.items()}, trainer.stats.to_dict()


def main() -> None:
    """Print one line for each figure and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x854")
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--warm", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], help="key=value of test-time training: updates=5, nice=0")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    times, training = paired_run(arguments)
    rows = {}
    for column, kind in enumerate(("clock", "thread")):
        off, on = (
            {f"p{q}": round(float(np.percentile(times[name][:, column], q)), 1) for q in (50, 95)}
            for name in ("off", "on")
        )
        rows[kind] = {"off_ms": off, "on_ms": on, "p95_ratio": round(on["p95"] / off["p95"], 3)}
        print(f"{kind}: off {off}, on {on}, p95 {rows[kind]['p95_ratio']:.2f} times")
    load = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps({**vars(arguments), "cpus": os.cpu_count(), "load": load, **rows, "training": training}))


if __name__ == "__main__":
    main()
