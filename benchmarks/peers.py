"""J&F against milliseconds a frame: budgets of the region, whole frames, and a classical baseline, on the same frames.

    python benchmarks/peers.py DAVIS [--frames 40] [--out benchmarks/results/peers.json]

Every way follows the first mask of each sequence (DAVIS 2016: all objects as one), frame by frame in turn, so that the
machine's drift falls on all alike. `flow` warps the mask with OpenCV's DIS optical flow, where opencv-python is installed.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import crwedge as cw
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


class Flow:
    """The mask of the frame before, warped with dense optical flow."""

    def __init__(self) -> None:
        import cv2

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


def follow(clip: Clip, makers: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float, list[float]]]:
    """J, F and the milliseconds of each frame but the first, of every way."""
    trackers = {name: make() for name, make in makers.items()}
    scorers = {name: SequenceScorer("2016") for name in makers}
    times: dict[str, list[float]] = {name: [] for name in makers}
    for number, (path, truth_path) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        frame, truth = read_picture(path), true_mask(truth_path, "2016")
        for name, tracker in trackers.items():
            step: Step = tracker if isinstance(tracker, Flow) else lambda f, m, t=tracker: t.step(f, m).ids  # type: ignore[misc]
            begun = time.perf_counter()
            ids = step(frame, truth if number == 0 else None)
            if number:
                times[name].append(1e3 * (time.perf_counter() - begun))
            scorers[name].feed_frame(ids if number else truth, truth)
    for tracker in trackers.values():
        if not isinstance(tracker, Flow):
            tracker.close()
    scores = {name: scorer.conclude() for name, scorer in scorers.items()}
    return {name: (score.mean("J").mean, score.mean("F").mean, times[name]) for name, score in scores.items()}


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()

    def opened(name: str) -> cw.Tracker:
        settings, size = WAYS[name]
        return cw.Tracker.open(shipped_bundle(), "cpu", settings, cw.TrackerOptions(size), workers=options.threads)

    makers: dict[str, Callable[[], Any]] = {name: (lambda name=name: opened(name)) for name in WAYS}  # type: ignore[misc]
    try:
        Flow()
        makers["mask warped by DIS optical flow"] = Flow
    except ImportError:
        print("opencv-python is not installed: no optical flow")
    found: dict[str, list[tuple[float, float, list[float]]]] = {name: [] for name in makers}
    for clip in davis_clips(options.root, "2016"):
        for name, one in follow(clip.first(options.frames), makers).items():
            found[name].append(one)
        print(clip.name, flush=True)
    rows = []
    for name, sequences in found.items():
        j, f = (100 * float(np.mean([one[i] for one in sequences])) for i in (0, 1))
        spent = float(np.median([ms for one in sequences for ms in one[2]]))
        rows.append(
            {"way": name, "J": round(j, 1), "F": round(f, 1), "JF": round((j + f) / 2, 1), "ms": round(spent, 1)}
        )
        print(f"{name:36} J&F {rows[-1]['JF']:5.1f}   J {j:5.1f}   F {f:5.1f}   {spent:7.1f} ms a frame")
    if options.out is not None:
        words = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(
            (line.split(":")[1].strip() for line in words if line.startswith("model name")), platform.machine()
        )
        facts = {"date": time.strftime("%Y-%m-%d"), "processor": processor, "frames": options.frames, "rows": rows}
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
