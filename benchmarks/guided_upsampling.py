"""J and F of edge-aware upsampling of the soft labels, with the frame as guide, beside linear upsampling.

    python benchmarks/guided_upsampling.py DAVIS [--frames 40] [--every 5] [--skip schoolgirls-240p] [--out FILE]

The preset `edge`, which has `bilateral 3 1 0.1`, tracks each sequence (DAVIS 2016: all objects as one). Every n-th frame is
upsampled in each way; nothing goes back into the context. Needs SciPy. Colours are 0 to 1; e is the filters' epsilon.

* `guided r e`: guided filter of the linearly upsampled labels, radius r pixels (He, Sun, Tang: Guided Image Filtering).
* `fast r e`: its coefficients at the labels' resolution, radius r labels, upsampled linearly (He, Sun: Fast Guided Filter).
* `bilateral n d s`: joint bilateral upsampling (Kopf et al. 2007) from n x n labels; d and s are the spreads of distance, in
  labels, and of colour; with s `inf` colours do not count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import product
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
EPSILONS = (1e-5, 1e-4, 1e-3)
BILATERAL = ((1, 1, np.inf), (1, 1, 0.05), (1, 1, 0.1), (1, 0.7, 0.1), (1, 1.5, 0.1), (2, 1, 0.1), (3, 1.5, 0.1))


def coefficients(guide: Map, labels: Map, radius: int, epsilon: float) -> tuple[Map, Map]:
    """The averaged a (h, w, 3) and b (h, w) of the guided filter of a guide (h, w, 3) and labels (h, w)."""

    def mean(x: Map) -> Map:
        window = (2 * radius + 1, 2 * radius + 1, *(1,) * (x.ndim - 2))
        return np.asarray(uniform_filter(x, window, mode="nearest"))

    mu, nu = mean(guide), mean(labels)
    covariance = mean(guide[..., :, None] * guide[..., None, :]) - mu[..., :, None] * mu[..., None, :]
    with_labels = mean(guide * labels[..., None]) - mu * nu[..., None]
    a = np.linalg.solve(covariance + epsilon * np.eye(3, dtype=np.float32), with_labels[..., None])[..., 0]
    return mean(a), mean(nu - (a * mu).sum(axis=-1))


def ways(labels: Map, frame: Map, view: View) -> Iterator[tuple[str, Map]]:
    """Each way's name and map (H, W) of the view, above 0 for the object, of the labels (h, w): object less background."""
    guide = frame[view.frame_box(frame.shape[:2])]
    boxes = zip(view.frame_box(frame.shape[:2]), frame.shape, view.size, view.origin, view.grid, strict=False)
    axes = [(np.arange(box.start, box.stop), n, side // 8, first, count) for box, n, side, first, count in boxes]
    taps = [linear_taps(n, cells, first, count) for _, n, cells, first, count in axes]
    down, across = ((low[i], high[i], part[i]) for (i, *_), (low, high, part) in zip(axes, taps, strict=True))
    linear = resize_taps(labels[None], down, across)[0]
    yield "linear", linear
    for radius, epsilon in product((8, 16), EPSILONS[1:]):
        a, b = coefficients(guide, linear, radius, epsilon)
        yield f"guided {radius} {epsilon:g}", (a * guide).sum(axis=-1) + b
    # The position of each pixel among the labels, the label it lies in, and the mean colour of each label.
    py, px = ((i + 0.5) * cells / n - 0.5 - first for i, n, cells, first, _ in axes)
    y, x = ((2 * i + 1) * cells // (2 * n) - first for i, n, cells, first, _ in axes)
    inside = (y[:, None] * view.grid[1] + x).reshape(-1)
    counts = np.maximum(np.bincount(inside, minlength=view.cells), 1)
    sums = [np.bincount(inside, guide[..., c].reshape(-1), view.cells) / counts for c in range(3)]
    small = np.stack(sums, axis=-1).reshape(*view.grid, 3).astype(np.float32)
    for radius, epsilon in product((1, 2, 4), EPSILONS):
        a, b = coefficients(small, labels, radius, epsilon)
        fine = resize_taps(np.concatenate((a, b[..., None]), axis=-1).transpose(2, 0, 1), down, across)
        yield f"fast {radius} {epsilon:g}", (fine[:3] * guide.transpose(2, 0, 1)).sum(axis=0) + fine[3]
    for reach, sigma, spread in BILATERAL:
        total = np.zeros(guide.shape[:2], np.float32)
        for dy, dx in product(range(-reach, reach + 1), repeat=2):
            at = np.ix_(np.clip(y + dy, 0, view.grid[0] - 1), np.clip(x + dx, 0, view.grid[1] - 1))
            far = ((py - y - dy)[:, None] ** 2 + (px - x - dx) ** 2) / (2 * sigma**2)
            total += np.exp(-far - ((guide - small[at]) ** 2).sum(axis=-1) / (2 * spread**2)) * labels[at]
        yield f"bilateral {2 * reach + 1} {sigma:g} {spread:g}", total


def score(clip: Clip, every: int) -> dict[str, list[float]]:
    """Mean J and F of a sequence by way."""
    tracker, kept, found = cw.Tracker.open(None, "cpu", "edge"), [], []  # type: ignore[var-annotated]
    remember = tracker.backend.remember
    tracker.backend.remember = lambda p, **options: (kept.append(p), remember(p, **options))  # type: ignore
    for number, (path, truth_path) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        frame, truth = read_picture(path), true_mask(truth_path, "2016")
        tracker.step(frame, None if number else truth)
        prediction = kept.pop()
        if number and number % every == 0:
            view = prediction.features.view.finer(tracker.settings.label_scale)
            found.append({})
            for name, map_ in ways(prediction.fine[1] - prediction.fine[0], (frame / 255).astype(np.float32), view):
                ids = np.zeros(truth.shape, np.uint8)
                ids[view.frame_box(truth.shape)] = map_ > 0
                found[-1][name] = np.concatenate(frame_scores(remove_specks(ids), truth, (1,)))
    tracker.close()
    return {name: np.mean([one[name] for one in found], axis=0).tolist() for name in found[0]}


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--skip", nargs="*", default=["schoolgirls-240p"])
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for clip in davis_clips(options.root, "2016"):
        if clip.name not in options.skip:
            found[clip.name] = score(clip.first(options.frames), options.every)
            print(clip.name, flush=True)
    means = {name: 100 * np.mean([one[name] for one in found.values()], axis=0) for name in next(iter(found.values()))}
    for name, (j, f) in means.items():
        print(f"{name:20} J {j:5.1f} ({j - means['linear'][0]:+5.2f})   F {f:5.1f} ({f - means['linear'][1]:+5.2f})")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
