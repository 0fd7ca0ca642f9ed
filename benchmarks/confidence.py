"""How well the tracker's own estimate of trust predicts the overlap with the truth, and the fit behind it.

    python benchmarks/confidence.py VOS_FOLDER [--model BUNDLE] [--frames 40] [--step 2] [--size 240x432] [--out FILE]
    python benchmarks/confidence.py --from benchmarks/results/confidence.json --plot docs/pictures/confidence.png

VOS_FOLDER holds a folder a sequence, each with JPEGImages/ and Annotations/. The fit that is judged on a sequence never
saw it (leave one sequence out); the one that is printed last saw all.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.images import parse_size
from crwedge.core.labels import region_iou
from crwedge.core.masks import object_ids
from crwedge.core.pictures import read_picture
from crwedge.runtime import monitor as monitor_module
from crwedge.runtime.propagation.confidence import CALIBRATION, SIGNS, Calibration, Signs


def collect(root: Path, model: str | None, frames: int, step: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    """One row an object and frame: its sequence, signs, confidence and true overlap."""
    rows: list[dict[str, Any]] = []
    seen: list[Signs] = []

    class Recorder(Calibration):
        def __call__(self, signs: Signs) -> float:
            seen.append(signs)
            return super().__call__(signs)

    recorder = Recorder(CALIBRATION.bias, CALIBRATION.weights, CALIBRATION.made_with)
    monitor_module.CALIBRATION = recorder  # type: ignore[attr-defined]
    with cw.Tracker.open(model, settings="crw", options=cw.TrackerOptions(size, confidence=True)) as tracker:
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            names = sorted(path.stem for path in (folder / "Annotations").glob("*.png"))[::step][:frames]
            tracker.reset()
            for number, name in enumerate(names):
                truth = cw.read_mask(folder / "Annotations" / f"{name}.png")
                picture = next((folder / "JPEGImages").glob(f"{name}.*"))
                seen.clear()
                labels = tracker.step(read_picture(picture), truth if number == 0 else None)
                if number == 0:
                    continue
                overlaps = region_iou(labels.ids, truth, tuple(labels.confidence))
                # One pinned frame: signs come in the order of the ids.
                for said, j, signs in zip(labels.confidence.values(), overlaps.tolist(), seen, strict=True):
                    rows.append({"sequence": folder.name, "J": j, "said": said, **signs})
            print(f"{folder.name}: {len(names)} frames, {len(object_ids(truth))} objects", flush=True)
    return rows


def fit(rows: list[dict[str, Any]], rounds: int = 4000) -> np.ndarray:
    """Weights (1 + signs,) of the logistic function, by gradient descent on the cross-entropy with J as a soft target."""
    x, y = _design(rows), np.array([row["J"] for row in rows])
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        gradient = x.T @ (1 / (1 + np.exp(-x @ weights)) - y) / len(y)
        weights -= 2.0 * (gradient + 1e-3 * np.r_[0, weights[1:]])
    return weights


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Correlation, error and curve of fits that did not see what they are judged on."""
    said, true = np.zeros(len(rows)), np.array([row["J"] for row in rows])
    names = np.array([row["sequence"] for row in rows])
    for name in np.unique(names):
        others = [row for row in rows if row["sequence"] != name]
        here = names == name
        said[here] = 1 / (1 + np.exp(-_design([row for row in rows if row["sequence"] == name]) @ fit(others)))
    edges = np.linspace(0, 1, 6)
    curve = []
    for low, high in itertools.pairwise(edges):
        inside = (said >= low) & (said < high + (high == 1))
        if inside.any():
            curve.append(
                {
                    "said": round(float(said[inside].mean()), 3),
                    "J": round(float(true[inside].mean()), 3),
                    "n": int(inside.sum()),
                }
            )
    ranks = [np.argsort(np.argsort(values)) for values in (said, true)]
    now = np.array([row["said"] for row in rows])
    return {
        "rows": len(rows),
        "pearson": round(float(np.corrcoef(said, true)[0, 1]), 3),
        "spearman": round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 3),
        "mean_error": round(float(np.abs(said - true).mean()), 3),
        "curve": curve,
        "shipped_fit": {
            "pearson": round(float(np.corrcoef(now, true)[0, 1]), 3),
            "mean_error": round(float(np.abs(now - true).mean()), 3),
        },
        "each_sign": {s: round(float(np.corrcoef([row[s] for row in rows], true)[0, 1]), 3) for s in SIGNS},
    }


def _design(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[1.0, *(row[sign] for sign in SIGNS)] for row in rows])


def plot(report: dict[str, Any], path: Path) -> None:
    """What was said against what was true, with the number of rows at each point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color="tab:gray", label="said = true")
    said, true = ([point[name] for point in report["curve"]] for name in ("said", "J"))
    axes.plot(said, true, "o-", color="tab:blue", label="mean of a bin")
    for point in report["curve"]:
        axes.annotate(
            f"n = {point['n']}", (point["said"], point["J"]), (7, -10), textcoords="offset points", fontsize=8
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("confidence, 0 to 1")
    axes.set_ylabel("overlap with the truth (J), 0 to 1")
    axes.legend(loc="upper left", fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print one JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--step", type=int, default=2)
    parser.add_argument("--size", default="240x432")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--from", dest="result", type=Path, help="a result of --out: draw it again, measure nothing")
    given = parser.parse_args()
    if given.result is not None and given.plot is not None:
        plot(json.loads(given.result.read_text()), given.plot)
        return
    if given.root is None:
        parser.error("give the folder of sequences, or --from FILE with --plot FILE")
    rows = collect(given.root, given.model, given.frames, given.step, parse_size(given.size))
    weights = fit(rows)
    manifest = cw.Tracker.open(given.model).bundle.manifest  # type: ignore[union-attr]
    report = {
        "model": {"name": manifest.name, "trained": manifest.trained, "weights_from": manifest.weights_from},
        "frames": given.frames,
        "step": given.step,
        "size": given.size,
        "fit": {
            "bias": round(float(weights[0]), 3),
            **{s: round(float(w), 3) for s, w in zip(SIGNS, weights[1:], strict=True)},
        },
        **judge(rows),
    }
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=1) + "\n")
    if given.plot is not None:
        plot(report, given.plot)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
