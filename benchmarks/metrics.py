"""How much faster the metrics are than a direct transcription of their definition, in one run on real masks.

    python benchmarks/metrics.py DATA

Both sides get the same masks in memory and must agree on every figure. The transcription compares whole frames and
dilates whole boundary maps with a disc, by scipy's binary dilation and, as a second and faster opponent, by one
shifted OR a disc pixel.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from crwedge.core.masks import read_mask
from crwedge.eval.boundary import boundary_reach
from crwedge.eval.metrics import frame_scores

Mask = NDArray[np.bool_]
Dilate = Callable[[Mask, int], Mask]


def boundary_map(region: Mask) -> Mask:
    """Pixels that differ from the right, the lower or the lower-right neighbour inside the frame."""
    edges = np.zeros_like(region)
    edges[:, :-1] |= region[:, :-1] != region[:, 1:]
    edges[:-1] |= region[:-1] != region[1:]
    edges[:-1, :-1] |= region[:-1, :-1] != region[1:, 1:]
    return edges


def disc(reach: int) -> Mask:
    """Structuring element of the matching: offsets no longer than `reach`."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x * x + y * y <= reach * reach)


def dilate_scipy(edges: Mask, reach: int) -> Mask:
    """Whole-frame dilation by scipy."""
    return np.asarray(binary_dilation(edges, disc(reach)))


def dilate_shifts(edges: Mask, reach: int) -> Mask:
    """Whole-frame dilation as one OR an offset of the disc."""
    height, width = edges.shape
    padded = np.pad(edges, reach)
    result = np.zeros_like(edges)
    for dy, dx in np.argwhere(disc(reach)):
        result |= padded[dy : dy + height, dx : dx + width]
    return result


def transcription(predicted: Mask, truth: Mask, dilate: Dilate) -> tuple[float, float]:
    """J and F of one object, word by word."""
    union = (predicted | truth).sum()
    region = float((predicted & truth).sum() / union) if union else 1.0
    reach = boundary_reach(*truth.shape)
    edges_p, edges_t = boundary_map(predicted), boundary_map(truth)
    hit_p, hit_t = edges_p & dilate(edges_t, reach), edges_t & dilate(edges_p, reach)
    precision = hit_p.sum() / edges_p.sum() if edges_p.any() else 1.0
    recall = hit_t.sum() / edges_t.sum() if edges_t.any() else 1.0
    return region, float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def load(data: Path, every: int) -> list[tuple[Any, Any, tuple[int, ...]]]:
    """Pairs of predicted and true ids; for the many-object sequence the prediction is the mask of the frame before."""
    pairs: list[tuple[Any, Any, tuple[int, ...]]] = []
    for folder in sorted((data / "official-scores" / "masks").iterdir()):
        for path in sorted(folder.glob("*.png"))[1:-1:every]:
            truth = read_mask(data / "vos" / folder.name / "Annotations" / path.name)
            pairs.append((read_mask(path), truth, (1,)))
    many = sorted((data / "vos" / "schoolgirls-240p" / "Annotations").glob("*.png"))
    for before, path in list(pairwise(many))[::every]:
        pairs.append((read_mask(before), read_mask(path), tuple(range(1, 8))))
    return pairs


def timed(work: Callable[[Any], Any], pairs: list[Any], threads: int) -> tuple[float, list[Any]]:
    """Seconds for all pairs, over a pool of threads, and what came of them."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        results = list(pool.map(work, pairs))
        return time.perf_counter() - start, results


def main() -> None:
    """Print one line an opponent and a JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=10, help="take every n-th frame")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken, for each side")
    arguments = parser.parse_args()
    pairs = load(arguments.data, arguments.every)

    def ours(pair: Any) -> Any:
        return np.stack(frame_scores(*pair), axis=1)

    def theirs(dilate: Dilate) -> Callable[[Any], Any]:
        return lambda pair: np.array([transcription(pair[0] == i, pair[1] == i, dilate) for i in pair[2]])

    ours(pairs[0])  # compile
    opponents = {"scipy": theirs(dilate_scipy), "shifts": theirs(dilate_shifts)}
    best: dict[str, float] = {}
    results: dict[str, Any] = {}
    for _ in range(arguments.rounds):
        for name, work in {"ours": ours, **opponents}.items():
            seconds, results[name] = timed(work, pairs, arguments.threads)
            best[name] = min(best.get(name, np.inf), seconds)
    report: dict[str, Any] = {"frames": len(pairs), "threads": arguments.threads}
    report["ours_ms"] = 1e3 * best["ours"] / len(pairs)
    for name in opponents:
        worst = max(float(np.abs(a - b).max()) for a, b in zip(results["ours"], results[name], strict=True))
        row = {"ms": 1e3 * best[name] / len(pairs), "times": best[name] / best["ours"], "difference": worst}
        print(f"{name}: {row['ms']:.2f} ms a frame, {row['times']:.1f} times ours, differs by {worst:.1e}")
        report[name] = row
    print(json.dumps(report))


if __name__ == "__main__":
    main()
