"""What a frame costs for 1, 10 and 50 objects, with and without estimates of confidence.

    python benchmarks/objects.py SEQUENCE [--frames 12]

SEQUENCE has JPEGImages/ and Annotations/. The first mask is cut into so many objects of about the same area, so that the
region is the same for all. All run frame by frame in turn, on one thread, and processor time is taken: it hardly depends on
what else runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import crwedge as cw
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import davis_clips
from crwedge.eval.davis import true_mask


def cut(mask: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """The object of a mask (H, W) as `count` objects: bands of about the same area, each cut from left to right."""
    ids = np.zeros(mask.shape, np.uint8)
    bands = max(1, round(np.sqrt(count / 2)))
    columns = [len(part) for part in np.array_split(np.arange(count), bands)]
    ys, xs = np.nonzero(mask)
    done = 0
    for band, parts in zip(np.array_split(np.arange(len(ys)), bands), columns, strict=True):
        order = band[np.argsort(xs[band], kind="stable")]
        for number, piece in enumerate(np.array_split(order, parts)):
            ids[ys[piece], xs[piece]] = 1 + done + number
        done += parts
    return ids


def main() -> None:
    """Run and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    clip = davis_clips(options.sequence, "2016")[0].first(options.frames)
    mask = true_mask(clip.masks[0], "2016")
    cases = [(count, sure) for count in (1, 10, 50) for sure in (False, True)]
    trackers = [
        cw.Tracker.open("shipped", "cpu", "edge", cw.TrackerOptions(confidence=sure), workers=1) for _, sure in cases
    ]
    spent: list[list[float]] = [[] for _ in cases]
    for number, path in enumerate(clip.frames):
        frame = read_picture(path)
        for (count, _), tracker, times in zip(cases, trackers, spent, strict=True):
            begun = time.process_time()
            tracker.step(frame, cut(mask, count) if number == 0 else None)
            if number > 1:
                times.append(1e3 * (time.process_time() - begun))
    for tracker in trackers:
        tracker.close()
    first = {sure: spent[cases.index((1, sure))] for sure in (False, True)}
    for (count, sure), times in zip(cases, spent, strict=True):
        ratio = np.median(np.array(times) / np.array(first[sure]))
        kind = f"{count:3} objects, confidence {'on ' if sure else 'off'}"
        print(f"{kind}: {np.median(times):6.1f} ms, {ratio:.2f} times one object")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
