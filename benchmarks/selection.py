"""Click to select: IoU after one, two and three clicks, on first frames of real films and on rendered scenes.

    python benchmarks/selection.py DAVIS [--clicks 3] [--tolerance 0.5] [--seeds 2 5 7 20] [--json FILE]

DAVIS is a tree of DAVIS 2016; sequences whose first frame has more than one object are passed over. Rendered are the first
frames of `render_scene(1, 240, 426, seed)`, each object alone. The clicks are those of a person who sees the truth: each one
lies in the middle (maximum of the distance transform) of the largest connected region of error, positive where the object is
missing. Everything runs with the shipped encoder on one thread of the CPU. Seconds are wall time; other programs lengthen it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from crwedge.core.masks import object_ids, read_mask
from crwedge.core.pictures import read_picture
from crwedge.core.scene import render_scene
from crwedge.eval.datasets import davis_clips
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.web.selector import Click, Selector

RESULT = Path(__file__).parent / "results" / "selection-cpu.json"


def main() -> None:
    """Run, print, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", type=Path)
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 5, 7, 20])
    parser.add_argument("--json", type=Path, default=RESULT)
    given = parser.parse_args()
    with threadpool_limits(1):
        result = measure(given.davis, given.seeds, given.clicks, given.tolerance)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(davis: Path, seeds: list[int], clicks: int, tolerance: float) -> dict[str, Any]:
    """IoU and seconds of each object, and their means by kind of picture."""
    selector = Selector(find_bundle("shipped"))
    result: dict[str, Any] = {"clicks": clicks, "tolerance": tolerance, "load": os.getloadavg()[0]}
    for kind, cases in (("film", film_cases(davis)), ("scene", scene_cases(seeds))):
        rows: dict[str, Any] = {}
        for name, image, truth in cases:
            rows[name] = row = click_through(selector, image, truth, clicks, tolerance)
            print(f"{kind} {name:16}", *(f"{value:.2f}" for value in row["iou"]), f"{row['seconds']:.2f} s", flush=True)
        result[kind] = {
            "objects": rows,
            "mean": [
                round(statistics.mean(column), 3) for column in zip(*(r["iou"] for r in rows.values()), strict=True)
            ],
            "seconds": round(statistics.median(row["seconds"] for row in rows.values()), 2),
        }
        print(f"{kind} mean", result[kind]["mean"], "median seconds a click", result[kind]["seconds"])
    selector.close()
    return result


def film_cases(davis: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Name, first frame and object of each sequence that has one object."""
    for clip in davis_clips(davis, "2016"):
        ids = read_mask(clip.masks[0])
        if len(object_ids(ids)) == 1:
            yield clip.name, read_picture(clip.frames[0]), ids > 0


def scene_cases(seeds: list[int]) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Name, frame and mask of each object of rendered scenes."""
    for seed in seeds:
        scene = render_scene(1, 240, 426, seed=seed)
        for number in object_ids(scene.masks[0]):
            yield f"seed {seed} object {number}", scene.frames[0], scene.masks[0] == number


def click_through(
    selector: Selector, image: NDArray[np.uint8], truth: NDArray[np.bool_], clicks: int, tolerance: float
) -> dict[str, Any]:
    """IoU after each click, and the median seconds a click."""
    placed: list[Click] = []
    found, overlaps, seconds = np.zeros_like(truth), [], []
    for _ in range(clicks):
        x, y, positive = next_click(found, truth)
        placed.append(Click(x, y, positive))
        start = time.perf_counter()
        found = selector.select(image, placed, tolerance)
        seconds.append(time.perf_counter() - start)
        overlaps.append(round(float((found & truth).sum() / (found | truth).sum()), 3))
    return {"iou": overlaps, "seconds": round(statistics.median(seconds), 2)}


def next_click(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float, bool]:
    """x, y and sign of the click in the middle of the largest region where the selection is wrong."""
    best, largest = np.zeros_like(truth), 0
    for wrong in (truth & ~found, found & ~truth):
        parts, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(parts.reshape(-1))[1:]
            if sizes.max() > largest:
                largest, best = int(sizes.max()), parts == 1 + sizes.argmax()
    if not largest:
        best = truth
    depth = ndimage.distance_transform_edt(np.pad(best, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x), float(y), bool(truth[y, x])


if __name__ == "__main__":
    main()
