"""J and F of edge-aware upsampling of the soft labels, with the frame as guide, beside linear upsampling.

    python benchmarks/guided_upsampling.py DAVIS [--frames 40] [--every 5] [--skip schoolgirls-240p] [--out FILE]

The preset `edge` tracks each sequence (DAVIS 2016: all objects as one). Of every n-th frame the fine soft labels are upsampled
in each way; nothing goes back into the context. Needs SciPy (`pip install "crwedge[eval]"`).

* `guided r e`: the guided filter of the linearly upsampled labels; r in pixels (He, Sun, Tang, "Guided Image Filtering").
* `fast r e`: its coefficients at label resolution, upsampled linearly; r in labels (He, Sun, "Fast Guided Filter").
* `bilateral s`: joint bilateral upsampling from 5 x 5 labels; s is the standard deviation of colours (Kopf et al., 2007).

Colours are 0 to 1; e is the filter's epsilon. With two labels, all three are linear in their difference, which is filtered.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

import crwedge as cw
from crwedge.core.labels import linear_taps, resize_taps
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import true_mask
from crwedge.eval.metrics import frame_scores
from crwedge.runtime.propagation.specks import remove_specks
from crwedge.runtime.propagation.view import View

Map = NDArray[np.float32]
EPSILONS = (1e-4, 1e-3, 1e-2)


def coefficients(guide: Map, map_: Map, radius: int, epsilon: float) -> tuple[Map, Map]:
    """The guided filter's a (h, w, 3) and b (h, w), already averaged, of a guide (h, w, 3) and a map (h, w)."""

    def mean(x: Map) -> Map:
        window = (2 * radius + 1, 2 * radius + 1, *(1,) * (x.ndim - 2))
        return np.asarray(uniform_filter(x, window, mode="nearest"))

    mu, nu = mean(guide), mean(map_)
    covariance = mean(guide[..., :, None] * guide[..., None, :]) - mu[..., :, None] * mu[..., None, :]
    with_map = mean(guide * map_[..., None]) - mu * nu[..., None]
    a = np.linalg.solve(covariance + epsilon * np.eye(3, dtype=np.float32), with_map[..., None])[..., 0]
    return mean(a), mean(nu - (a * mu).sum(axis=-1))


def ways(labels: Map, frame: Map, view: View) -> Iterator[tuple[str, Map]]:
    """Name and upsampled map of each way: above 0 is object.

    Args:
        labels: (h, w) soft label of the object less that of the background.
        frame: (H, W, 3) colours from 0 to 1.
        view: of the labels.
    """
    size = (frame.shape[0], frame.shape[1])
    rows, columns = view.frame_box(size)
    full = [n // 8 for n in view.size]
    down, across = (
        tuple(tap[box] for tap in linear_taps(pixels, cells, first, count))
        for pixels, cells, first, count, box in zip(size, full, view.origin, view.grid, (rows, columns), strict=True)
    )

    def enlarged(maps: Map) -> Map:
        return resize_taps(maps, down, across)

    linear, guide = enlarged(labels[None])[0], frame[rows, columns]
    yield "linear", linear
    for radius in (4, 8, 16):
        for epsilon in EPSILONS:
            a, b = coefficients(guide, linear, radius, epsilon)
            yield f"guided {radius} {epsilon:g}", (a * guide).sum(axis=-1) + b
    # The mean colour of each label's pixels.
    ys, xs = (
        (2 * np.arange(box.start, box.stop) + 1) * cells // (2 * pixels) - first
        for box, cells, pixels, first in zip((rows, columns), full, size, view.origin, strict=True)
    )
    cell = (ys[:, None] * view.grid[1] + xs).reshape(-1)
    counts = np.maximum(np.bincount(cell, minlength=view.cells), 1)
    sums = [np.bincount(cell, guide[..., c].reshape(-1), view.cells) for c in range(3)]
    small = np.asarray(np.stack(sums, axis=-1) / counts[:, None], np.float32).reshape(*view.grid, 3)
    for radius in (1, 2, 4):
        for epsilon in EPSILONS:
            a, b = coefficients(small, labels, radius, epsilon)
            yield (
                f"fast {radius} {epsilon:g}",
                (enlarged(a.transpose(2, 0, 1)) * guide.transpose(2, 0, 1)).sum(axis=0) + enlarged(b[None])[0],
            )
    # Where the pixels are among the labels.
    py, px = (
        (np.arange(box.start, box.stop) + 0.5) * cells / pixels - 0.5 - first
        for box, cells, pixels, first in zip((rows, columns), full, size, view.origin, strict=True)
    )
    for spread in (0.05, 0.1, 0.2):
        total = np.zeros(guide.shape[:2], np.float32)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                y, x = np.clip(ys + dy, 0, view.grid[0] - 1), np.clip(xs + dx, 0, view.grid[1] - 1)
                colours = ((guide - small[y][:, x]) ** 2).sum(axis=-1) / (2 * spread**2)
                places = (py - (ys + dy))[:, None] ** 2 / 2 + (px - (xs + dx)) ** 2 / 2
                total += np.exp(-colours - places).astype(np.float32) * labels[y][:, x]
        yield f"bilateral {spread:g}", total


def scores(labels: Map, frame: NDArray[np.uint8], view: View, truth: NDArray[np.uint8]) -> dict[str, list[float]]:
    """J and F of one frame by way; isolated specks are removed, as the preset does."""
    found = {}
    for name, map_ in ways(labels, np.asarray(frame / np.float32(255), np.float32), view):
        ids = np.zeros(truth.shape, np.uint8)
        ids[view.frame_box(truth.shape)] = map_ > 0
        j, f = frame_scores(remove_specks(ids), truth, (1,))
        found[name] = [float(j[0]), float(f[0])]
    return found


def track(clip: Clip, every: int) -> Iterator[tuple[Map, NDArray[np.uint8], View, NDArray[np.uint8]]]:
    """The arguments of `scores` of every n-th frame."""
    tracker = cw.Tracker.open(cw.shipped_bundle(), "cpu", cw.preset("edge"))
    kept: dict[str, Any] = {}
    remember = tracker.backend.remember

    def keep(prediction: Any, **options: Any) -> None:
        kept["prediction"] = prediction
        remember(prediction, **options)

    tracker.backend.remember = keep  # type: ignore[method-assign]
    for number, (path, truth_path) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        frame, truth = read_picture(path), true_mask(truth_path, "2016")
        tracker.step(frame, None if number else truth)
        if number and number % every == 0:
            fine, view = kept["prediction"].fine, kept["prediction"].features.view
            yield fine[1] - fine[0], frame, view.finer(tracker.settings.label_scale), truth
    tracker.close()


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--skip", nargs="*", default=["schoolgirls-240p"])
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for clip in davis_clips(options.root, "2016"):
        if clip.name not in options.skip:
            frames = [scores(*given) for given in track(clip.first(options.frames), options.every)]
            found[clip.name] = {name: np.mean([one[name] for one in frames], axis=0).tolist() for name in frames[0]}
            print(clip.name, flush=True)
    means = {name: 100 * np.mean([one[name] for one in found.values()], axis=0) for name in next(iter(found.values()))}
    for name, (j, f) in means.items():
        print(f"{name:20} J {j:5.1f} ({j - means['linear'][0]:+5.2f})   F {f:5.1f} ({f - means['linear'][1]:+5.2f})")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
