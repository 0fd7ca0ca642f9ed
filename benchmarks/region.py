"""J and F of the region beside the whole frame at the same scale: what cropping costs, sequence by sequence.

    python benchmarks/region.py DAVIS [--model BUNDLE] [--cells 1600] [--frames N] [--sequences libby camel] [--out FILE]

Each sequence is tracked twice at once (DAVIS 2016: all objects as one). `region` is the preset `edge` with the budget. `whole`
has the same settings, searches and context, and computes each frame at the very scale that the region has just chosen for it,
but all of the frame: the two differ in the crop alone. `fixed` (with --fixed) computes all of each frame at one scale, the mean
of the region's, so that it also shows what changes of scale cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.images import grid_size
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import true_mask
from crwedge.eval.scorer import SequenceScorer
from crwedge.runtime.backends.open import open_backend
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.finder import Finder
from crwedge.runtime.locator import RegionLocator
from crwedge.runtime.propagation.view import Size, View
from crwedge.runtime.region import Region


class WholeAtScale(Region):
    """Everything of each frame, at a scale that is set from outside."""

    scale: Size

    def view(self) -> View:
        """See `Region.view`."""
        return View.whole(self.scale)


def whole_tracker(
    model: str, settings: cw.PropagationSettings, size: Size, threads: int | None
) -> tuple[cw.Tracker, WholeAtScale]:
    """A tracker that computes whole frames at the scale of the region it comes with; frames are of `size` = (H, W)."""
    every = int(np.prod(grid_size(*size)))
    backend = open_backend(find_bundle(model), settings.with_changes(cells=every), "cpu", threads)
    region = WholeAtScale(settings.cells or every, settings.region_margin, size)
    tracker = cw.Tracker(backend, cw.TrackerOptions(confidence=True))
    tracker._locator = RegionLocator(region, backend, Finder(backend, region.overview))
    return tracker, region


def compare(
    clip: Clip, model: str, settings: cw.PropagationSettings, threads: int | None, fixed: bool, whole: bool
) -> dict[str, Any]:
    """Scores of one sequence by way, with what the region chose."""
    frames, truths = [read_picture(p) for p in clip.frames], [true_mask(p, "2016") for p in clip.masks]
    size: Size = (frames[0].shape[0], frames[0].shape[1])
    region = cw.Tracker.open(model, "cpu", settings, cw.TrackerOptions(confidence=True), workers=threads)
    trackers = {"region": region}
    scorers = {"region": SequenceScorer("2016")}
    if whole:
        trackers["whole"], same = whole_tracker(model, settings, size, threads)
        scorers["whole"] = SequenceScorer("2016")
    scales: list[Size] = []
    cells: list[int] = []
    for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        for name, tracker in trackers.items():
            labels = tracker.step(frame, truth if number == 0 else None)
            scorers[name].feed_frame(labels.ids if number else truth, truth)
            if name == "region":
                cells.append(labels.soft[0].size)
                locator = tracker._locator
                assert isinstance(locator, RegionLocator)
                assert locator._view is not None
                scales.append(locator._view.size)
                if whole:
                    same.scale = scales[-1]
    for tracker in trackers.values():
        tracker.close()
    if fixed:
        mean = float(np.mean([scale[0] for scale in scales])) / size[0]
        at = round(size[0] * mean), round(size[1] * mean)
        tracker, kept = whole_tracker(model, settings, size, threads)
        kept.scale, scorers["fixed"] = at, SequenceScorer("2016")
        for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
            ids = tracker.step(frame, truth if number == 0 else None).ids
            scorers["fixed"].feed_frame(ids if number else truth, truth)
        tracker.close()
    row: dict[str, Any] = {"sequence": clip.name, "scales": [round(s[0] / size[0], 3) for s in scales]}
    row["cells"] = round(float(np.mean(cells)))
    for name, scorer in scorers.items():
        score = scorer.conclude()
        row[name] = {m: round(100 * score.mean(m).mean, 1) for m in ("J", "F")}
        row[name]["raw"] = [None if np.isnan(v) else round(float(v), 3) for v in score.objects[0].J]
    return row


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default="shipped", help="bundle; its folder or its name")
    parser.add_argument("--cells", type=int, default=1600)
    parser.add_argument("--frames", type=int, default=None)
    parser.add_argument("--sequences", nargs="*", default=[])
    parser.add_argument("--skip", nargs="*", default=["schoolgirls-240p"], help="sequences left out")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--region-only", action="store_true")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    settings, rows = cw.preset("edge").with_changes(cells=options.cells), []
    for clip in davis_clips(options.root, "2016", tuple(options.sequences)):
        if clip.name in options.skip:
            continue
        begun = time.perf_counter()
        row = compare(
            clip.first(options.frames),
            options.model,
            settings,
            options.threads,
            options.fixed,
            not options.region_only,
        )
        rows.append(row)
        ways = [name for name in ("region", "whole", "fixed") if name in row]
        text = "   ".join(f"{name} J {row[name]['J']:5.1f} F {row[name]['F']:5.1f}" for name in ways)
        scales = row["scales"]
        changes = sum(a != b for a, b in itertools.pairwise(scales))
        print(
            f"{clip.name:16} {text}   {row['cells']} cells, scale {min(scales):.2f} to {max(scales):.2f}, {changes} changes   "
            f"{time.perf_counter() - begun:.0f} s",
            flush=True,
        )
    for way in ("region", "whole", "fixed"):
        if way in rows[0]:
            j, f = (float(np.mean([row[way][m] for row in rows])) for m in ("J", "F"))
            cells = round(float(np.mean([row["cells"] for row in rows])))
            print(
                f"{way:16} J {j:.1f} F {f:.1f} J&F {(j + f) / 2:.1f}" + (f"   {cells} cells" if way == "region" else "")
            )
    print(f"load {os.getloadavg()[0]:.1f}")
    if options.out:
        options.out.write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
