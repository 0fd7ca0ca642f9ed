"""J&F against the time of a frame: budgets of the region, whole frames, and classical baselines, on the same frames.

    pip install opencv-python-headless matplotlib
    python benchmarks/peers.py DAVIS [--frames 40] [--out benchmarks/results/peers-cpu.json] [--plot FILE.png]
    python benchmarks/peers.py --from benchmarks/results/peers-cpu.json --plot docs/pictures/peers.png

Every way follows the first mask of each sequence (DAVIS 2016: all objects as one), frame by frame in turn, so that the
machine's drift falls on all alike. Times are ratios to the preset `edge` on the same frame; milliseconds are printed beside
them, with the load of the machine. Where OpenCV is installed there are two ways without a learnt encoder: the mask warped with
DIS optical flow, and the mask moved along with the box of the tracker MIL, the one of OpenCV that needs no weights.

EdgeTAM with random weights is measured for its time alone, with one and with three objects; it needs PyTorch beside

    pip install transformers timm torchvision

It takes seconds a frame on a processor, so it is measured only when it is named. `--ways` measures the ways whose names contain
one of the words, and the base:

    python benchmarks/peers.py DAVIS --ways EdgeTAM crw --sequences camel --frames 12
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

import crwedge as cw
from benchmarks.edge_tam import EdgeTam
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import true_mask
from crwedge.eval.scorer import SequenceScorer
from crwedge.runtime.bundle_lookup import shipped_bundle

Step = Callable[[NDArray[np.uint8], NDArray[np.uint8] | None], NDArray[np.uint8]]
"""A frame RGB uint8 (H, W, 3), with the first one its mask -> ids (H, W)."""

WAYS: dict[str, tuple[cw.PropagationSettings, tuple[int, int] | None]] = {
    "edge, 800 cells": (cw.preset("edge").with_changes(cells=800), None),
    "edge, 1,600 cells": (cw.preset("edge"), None),
    "edge, 3,200 cells": (cw.preset("edge").with_changes(cells=3200), None),
    "edge, 6,400 cells": (cw.preset("edge").with_changes(cells=6400), None),
    "whole frame, half size": (
        cw.preset("crw").with_changes(context_length=5, first_frame="restricted"),
        (240, 428),
    ),
    "whole frame (crw)": (cw.preset("crw"), None),
}
BASE = "edge, 1,600 cells"
TIMED = {f"EdgeTAM, {text}": objects for text, objects in (("one object", 1), ("three objects", 3))}
"""Ways whose masks are not scored, with their number of objects."""


class Flow:
    """The mask of the frame before, warped with dense optical flow."""

    def __init__(self) -> None:
        cv2: Any = import_module("cv2")
        self._cv2, self._flow = cv2, cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: NDArray[np.uint8] | None = None
        self._mask = np.zeros((0, 0), np.uint8)

    def __call__(self, frame: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """See `Step`."""
        grey = self._cv2.cvtColor(frame, self._cv2.COLOR_RGB2GRAY)
        if mask is None:
            # From this frame back to the one before: where each pixel came from.
            motion = self._flow.calc(grey, self._before, None)
            ys, xs = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]].astype(np.float32)
            there = xs + motion[..., 0], ys + motion[..., 1]
            mask = self._cv2.remap(self._mask, *there, self._cv2.INTER_NEAREST)
        self._before, self._mask = grey, np.asarray(mask, np.uint8)
        return self._mask


class Box:
    """The first mask, moved along and scaled with the box of OpenCV's tracker MIL."""

    def __init__(self) -> None:
        cv2: Any = import_module("cv2")
        self._cv2, self._tracker = cv2, cv2.TrackerMIL_create()
        self._first = np.zeros((0, 0), np.uint8)

    def __call__(self, frame: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """See `Step`."""
        picture = np.ascontiguousarray(frame[..., ::-1])
        if mask is not None:
            ys, xs = np.nonzero(mask)
            top, left, bottom, right = int(ys.min()), int(xs.min()), int(ys.max()) + 1, int(xs.max()) + 1
            self._first = mask[top:bottom, left:right]
            self._tracker.init(picture, (left, top, right - left, bottom - top))
            return mask
        _, (left, top, width, height) = self._tracker.update(picture)
        part = self._cv2.resize(self._first, (max(1, width), max(1, height)), interpolation=self._cv2.INTER_NEAREST)
        ids, (h, w, _) = np.zeros(frame.shape[:2], np.uint8), frame.shape
        y0, x0, y1, x1 = max(0, top), max(0, left), min(h, top + height), min(w, left + width)
        if y1 > y0 and x1 > x0:
            ids[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]
        return ids


def follow(clip: Clip, makers: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float, list[float]]]:
    """J, F and the milliseconds of each frame but the first, of every way; J and F are NaN for `TIMED`."""
    trackers = {name: make() for name, make in makers.items()}
    scorers = {name: SequenceScorer("2016") for name in makers if name not in TIMED}
    times: dict[str, list[float]] = {name: [] for name in makers}
    for number, (path, truth_path) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        frame, truth = read_picture(path), true_mask(truth_path, "2016")
        for name, tracker in trackers.items():
            step: Step = (lambda f, m, t=tracker: t.step(f, m).ids) if isinstance(tracker, cw.Tracker) else tracker  # type: ignore[misc]
            begun = time.perf_counter()
            ids = step(frame, truth if number == 0 else None)
            if number:
                times[name].append(1e3 * (time.perf_counter() - begun))
            if name in scorers:
                scorers[name].feed_frame(ids if number else truth, truth)
    for tracker in trackers.values():
        if isinstance(tracker, cw.Tracker):
            tracker.close()
    scores = {name: scorer.conclude() for name, scorer in scorers.items()}
    means = {name: (score.mean("J").mean, score.mean("F").mean) for name, score in scores.items()}
    return {name: (*means.get(name, (float("nan"), float("nan"))), times[name]) for name in makers}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """J&F against the ratio of times; a way without scores is a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row in (row for row in rows if row["JF"] is None):
        axes.axvline(row["ratio"], color="tab:gray", linestyle=":")
        axes.annotate(
            row["way"],
            (row["ratio"], 0.03),
            (-10, 0),
            ("data", "axes fraction"),
            "offset points",
            rotation=90,
            fontsize=8,
        )
    widest = max(row["ratio"] for row in rows)
    rows = [row for row in rows if row["JF"] is not None]
    slowest = max(row["ratio"] for row in rows)
    edge = [row for row in rows if row["way"].startswith("edge")]
    axes.plot([row["ratio"] for row in edge], [row["JF"] for row in edge], "o-", color="tab:blue")
    others = [row for row in rows if row not in edge]
    axes.plot([row["ratio"] for row in others], [row["JF"] for row in others], "s", color="tab:gray")
    for number, row in enumerate(rows):
        # Two points in one place: one label stands above, one to the right. Others are below; that of the last, to the left.
        close = [
            i for i, r in enumerate(rows) if abs(r["ratio"] / row["ratio"] - 1) < 0.1 and abs(r["JF"] - row["JF"]) < 2
        ]
        offset = (5, -11) if len(close) == 1 else (5, 6) if number == close[-1] else (8, -3)
        side = "right" if row["ratio"] == slowest else "left"
        place = (row["ratio"], row["JF"])
        axes.annotate(row["way"], place, offset, textcoords="offset points", fontsize=8, ha=side)
    axes.set_xscale("log")
    axes.margins(0.2)
    ticks = [tick for tick in (0.4, 0.6, 1, 1.5, 2, 4, 8, 16, 32, 64) if tick < max(8.1, 1.5 * widest)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel(f"time of a frame, as a multiple of {BASE}")
    axes.set_ylabel("J&F, points")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--sequences", nargs="*", default=[])
    parser.add_argument(
        "--ways", nargs="*", default=[], help="words: only ways with one of them in the name, and the base"
    )
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--plot", type=Path, default=None)
    parser.add_argument(
        "--from", dest="result", type=Path, nargs="+", help="results of --out to draw; measures nothing"
    )
    options = parser.parse_args()
    if options.result is not None and options.plot is not None:
        results = [json.loads(path.read_text())["rows"] for path in options.result]
        plot(list({row["way"]: row for rows in reversed(results) for row in rows}.values()), options.plot)
        return
    if options.root is None:
        parser.error("give the folder of DAVIS, or --from FILE with --plot FILE")

    def opened(name: str) -> cw.Tracker:
        settings, size = WAYS[name]
        return cw.Tracker.open(shipped_bundle(), "cpu", settings, cw.TrackerOptions(size), workers=options.threads)

    makers: dict[str, Callable[[], Any]] = {name: (lambda name=name: opened(name)) for name in WAYS}  # type: ignore[misc]
    try:
        Flow()
        makers |= {"mask warped by DIS flow": Flow, "mask moved with a MIL box": Box}
    except ImportError:
        print("opencv-python is not installed: no optical flow and no box tracker")
    threads = options.threads or len(os.sched_getaffinity(0))
    makers |= {name: (lambda n=objects: EdgeTam(n, threads)) for name, objects in TIMED.items()}  # type: ignore[misc]
    words = [word.lower() for word in options.ways]
    chosen = {name for name in makers if (any(word in name.lower() for word in words) if words else name not in TIMED)}
    missing = [name for name in ("torch", "transformers", "timm", "torchvision") if find_spec(name) is None]
    if chosen & set(TIMED) and missing:
        print(f"no EdgeTAM: pip install {' '.join(missing)}")
        chosen -= set(TIMED)
    makers = {name: make for name, make in makers.items() if name in {BASE, *chosen}}
    found: dict[str, list[tuple[float, float, list[float]]]] = {name: [] for name in makers}
    clips = davis_clips(options.root, "2016", tuple(options.sequences))
    load = os.getloadavg()
    for clip in clips:
        for name, one in follow(clip.first(options.frames), makers).items():
            found[name].append(one)
        print(clip.name, flush=True)
    rows: list[dict[str, Any]] = []
    base = np.concatenate([one[2] for one in found[BASE]])
    for name, sequences in found.items():
        j, f = (100 * float(np.mean([one[i] for one in sequences])) for i in (0, 1))
        times = np.concatenate([one[2] for one in sequences])
        row: dict[str, Any] = {"way": name, "J": None, "F": None, "JF": None}
        if name not in TIMED:
            row |= {"J": round(j, 1), "F": round(f, 1), "JF": round((j + f) / 2, 1)}
        row |= {"ratio": round(float(np.median(times / base)), 2), "ms": round(float(np.median(times)), 1)}
        rows.append(row)
        scores = "not scored" if name in TIMED else f"J&F {(j + f) / 2:5.1f}   J {j:5.1f}   F {f:5.1f}"
        print(f"{name:30} {scores:33}   {row['ratio']:5.2f} times {BASE}, {row['ms']:7.1f} ms")
    loads = [round(value, 1) for value in (load[0], os.getloadavg()[0])]
    print(f"load of the machine before and after: {loads[0]} and {loads[1]}")
    if options.plot is not None:
        plot(rows, options.plot)
    if options.out is not None:
        words = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(
            (line.split(":")[1].strip() for line in words if line.startswith("model name")), platform.machine()
        )
        facts = {
            "date": time.strftime("%Y-%m-%d"),
            "processor": processor,
            "load_before_and_after": loads,
            "frames": options.frames,
            "sequences": [clip.name for clip in clips],
            "ratio_to": BASE,
            "rows": rows,
        }
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
