"""Two streams that share one engine, against one stream alone: time, use of the processors, and the same label maps.

    python benchmarks/streaming.py [--sizes HxW ...] [--frames N] [--repeats N] [--context M] [--first-frame global|restricted]
                                   [--footage FOLDER MASK FOLDER MASK] [--processors P] [--json FILE]

Each stream is what `crwedge track` runs: a reader that decodes pictures (JPEG), a tracker with the shipped encoder on the
CPU, a writer of palette PNGs. In one process, on one engine that stays open, four ways take turns in each round:

* a, b: one stream alone.
* both: the two at the same moment on a `LockedEngine`, as `crwedge track` runs two: one frame in the encoder at a time with
  all threads, and half of the threads for each propagation.
* apart: the two at the same moment, each with an engine of its own and half of the processors: what nothing shared costs.

Reported are medians over the rounds of the ratios within a round: both over a, and both over the slower of a and b. `used`
is the process's time on all processors (`work`, seconds) over wall time x processors: where one stream alone leaves nothing
idle, two cannot take less than twice its time. The first round warms up and is not counted. Label maps of the last two are
compared with those of a and b, pixel by pixel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import crwedge as cw
from crwedge.core.images import parse_size
from crwedge.core.masks import write_mask
from crwedge.runtime.backends.engine import Engine, LockedEngine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.propagation.attention import cpu_count
from crwedge.runtime.sources.frame_range import FrameRange

WAYS = ("a", "b", "both", "apart")
RESULT = Path(__file__).parent / "results" / "streaming-cpu.json"

Clip = tuple[Path, Path]
"""A folder of pictures, and the mask of the first."""


def main() -> None:
    """Run, print, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(96, 160), (240, 432), (480, 854)])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--first-frame", choices=("global", "restricted"), default="global")
    parser.add_argument("--footage", nargs=4, type=Path, metavar=("FOLDER", "MASK", "FOLDER", "MASK"))
    parser.add_argument("--processors", type=int, default=cpu_count(), help="threads of each part; default: all")
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    settings = cw.PropagationSettings(context_length=options.context, first_frame=options.first_frame)
    bundle = cw.Bundle.open(shipped_bundle())
    # All processors for one stream, and half of them for each of two.
    engine = cw.open_engine(bundle, "cpu", options.processors)
    halves = [cw.open_engine(bundle, "cpu", max(1, options.processors // 2)) for _ in range(2)]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.sizes:
            folder = Path(scratch) / f"{size[0]}x{size[1]}"
            given = options.footage
            clips = [(given[0], given[1]), (given[2], given[3])] if given else rendered(folder, size, options.frames)
            row = {
                "size": f"{size[0]}x{size[1]}",
                **measure([engine, *halves], settings, size, clips, options, folder / "out"),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    for one in (engine, *halves):
        one.close()
    report = {
        "device": f"{processor()}, {cpu_count()} processors, {engine.name}, numpy {np.__version__}",
        "load_before": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", *sys.argv]),
        "footage": [str(path) for path in options.footage] if options.footage else "rendered scenes, seeds 3 and 4",
        "frames": options.frames,
        "rounds": options.repeats,
        "protocol": settings.to_dict(),
        "outputs": "a folder of palette PNGs for each stream",
        "rows": rows,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n")


def measure(
    engines: list[Engine],
    settings: cw.PropagationSettings,
    size: tuple[int, int],
    clips: list[Clip],
    options: Any,
    out: Path,
) -> dict[str, Any]:
    """One row: medians of times and of ratios within a round. The engines are one with all processors, two with half."""
    engine, all_processors = LockedEngine(engines[0]), options.processors
    half = max(1, all_processors // 2)
    bundle = cw.Bundle.open(shipped_bundle())

    def follow(engine: Engine, number: int, way: str, workers: int = all_processors) -> None:
        mask, target = cw.read_mask(clips[number][1]), out / way / str(number)
        with (
            cw.open_source(clips[number][0]) as source,
            cw.open_sink(target, overwrite=True) as sink,
            cw.Tracker.open(bundle, engine, settings, cw.TrackerOptions(size), workers=workers) as tracker,
        ):
            cw.run_stream(tracker, FrameRange(source, count=options.frames), [sink], prompt=mask, late="wait")

    def together(given: list[Engine], way: str, workers: int = all_processors) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: follow(given[number], number, way, workers), range(2)))

    runs: dict[str, Callable[[], None]] = {
        "a": lambda: follow(engine, 0, "alone"),
        "b": lambda: follow(engine, 1, "alone"),
        "both": lambda: together([engine] * 2, "both", half),
        "apart": lambda: together([LockedEngine(one) for one in engines[1:]], "apart", half),
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    work: dict[str, list[float]] = {way: [] for way in WAYS}
    for round_number in range(options.repeats + 1):
        for way, run in runs.items():
            wall, processor_time = time.perf_counter(), time.process_time()
            run()
            wall, processor_time = time.perf_counter() - wall, time.process_time() - processor_time
            if round_number:
                seconds[way].append(wall)
                work[way].append(processor_time)
    median = statistics.median
    return {
        "seconds": {way: round(median(values), 3) for way, values in seconds.items()},
        "work": {way: round(median(values), 3) for way, values in work.items()},
        "used": {way: round(sum(work[way]) / (sum(seconds[way]) * cpu_count()), 3) for way in WAYS},
        "over_a": {way: round(median(map(truediv, seconds[way], seconds["a"])), 3) for way in WAYS[2:]},
        "over_slower": {
            way: round(median(map(truediv, seconds[way], map(max, seconds["a"], seconds["b"]))), 3) for way in WAYS[2:]
        },
        "both_over_a_of_each_round": [round(value, 3) for value in map(truediv, seconds["both"], seconds["a"])],
        "same_label_maps": all(same_maps(out / "alone", out / way) for way in WAYS[2:]),
    }


def same_maps(one: Path, other: Path) -> bool:
    """Whether two folders hold the same masks under the same names."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.png"))
    same = names == sorted(path.relative_to(other) for path in other.rglob("*.png"))
    return bool(names) and same and all(np.array_equal(cw.read_mask(one / n), cw.read_mask(other / n)) for n in names)


def rendered(folder: Path, size: tuple[int, int], count: int) -> list[Clip]:
    """Two scenes as JPEGs, as a camera's would come."""
    clips = []
    for number, seed in enumerate((3, 4)):
        scene = cw.render_scene(count, *size, seed=seed)
        frames = folder / f"frames{number}"
        frames.mkdir(parents=True)
        for index, image in enumerate(scene.frames):
            Image.fromarray(image).save(frames / f"{index}.jpg", quality=92)
        write_mask(folder / f"{number}.png", scene.masks[0])
        clips.append((frames, folder / f"{number}.png"))
    return clips


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
