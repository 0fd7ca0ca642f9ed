"""Memory over a long run: 2,000 frames at 320 x 180; after frame 200 and at the end it must differ by less than 1 %.

    python benchmarks/memory.py [--frames N]

The frames are a rendered scene played to and fro, with two objects, default settings, the shipped encoder. Prints JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path

import crwedge as cw
from crwedge.runtime.bundle_lookup import shipped_bundle


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    scene = cw.render_scene(48, 180, 320)
    order = [*range(48), *range(46, 0, -1)]
    held = {}
    start = time.perf_counter()
    with cw.Tracker.open(shipped_bundle(), settings="crw") as tracker:
        for index in range(options.frames):
            labels = tracker.step(scene.frames[order[index % len(order)]], scene.masks[0] if index == 0 else None)
            assert labels.index == index
            if index in (200, options.frames - 1):
                gc.collect()
                held[index] = resident_mb()
        statement = tracker.memory_statement
    first, last = held[200], held[options.frames - 1]
    report = {
        "frames": options.frames,
        "size": "180x320",
        "rss_mb_after_200": first,
        "rss_mb_at_the_end": last,
        "change_percent": round(100 * (last - first) / first, 3),
        "fps": round(options.frames / (time.perf_counter() - start), 2),
        "statement": statement,
    }
    print(json.dumps(report, indent=1))


def resident_mb() -> float:
    """Memory this process holds, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 1e6, 2)


if __name__ == "__main__":
    main()
