"""Hold the label-free score against J&F: both of several encoders, and their rank correlation.

    python benchmarks/label_free.py DAVIS FOOTAGE runs/a runs/b/encoder.safetensors --out benchmarks/results/label-free.csv

Each argument after FOOTAGE is a run's folder (its encoder.safetensors) or an encoder file. J&F: DAVIS 2016 rules, every third
frame, the first 12 of them, computed at 360x640, preset crw but for a context of 5. The cycle score: what `crwedge check` does,
once for each seed, on the first `--clips` of 32 clips that are cut evenly from FOOTAGE. PyTorch, in bfloat16. Rows are appended
to the CSV; encoders that it holds already are not measured again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crwedge.core.images import resize_frame
from crwedge.core.settings import PropagationSettings
from crwedge.cycle.footage import read_clips
from crwedge.cycle.score import CycleSettings, cycle_score
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import first_mask, true_mask
from crwedge.eval.follow import read_frame
from crwedge.eval.scorer import SequenceScorer
from crwedge.model.checkpoint import load_encoder
from crwedge.runtime.propagation.propagate import propagate_masks
from crwedge.train.probe import TorchEngine

SIZE = (360, 640)
STEP, FRAMES = 3, 12
SETTINGS = PropagationSettings(context_length=5)
COLUMNS = ["encoder", "JF", "J", "F", "cycle", "spread", "clip_error", "regions", "clips"]


def open_checkpoint(path: Path) -> TorchEngine:
    """The encoder of a run's folder or of a file, in bfloat16."""
    encoder = load_encoder(path)[0].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchEngine(encoder, "bfloat16")


def main() -> None:
    """Measure, append, correlate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", type=Path)
    parser.add_argument("footage", nargs=1)
    parser.add_argument("encoders", type=Path, nargs="*")
    parser.add_argument("--skip", nargs="*", default=["schoolgirls-240p"], help="sequences left out")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    known = {row["encoder"] for row in rows}
    sequences = [clip for clip in davis_clips(options.davis) if clip.name not in options.skip]
    plain = CycleSettings()
    todo = [path for path in options.encoders if _name(path) not in known]
    footage = []
    if todo:
        footage = read_clips(options.footage, count=32, frames=plain.frames, rate=plain.rate, short_side=256)
        footage = footage[: options.clips]
    for path in todo:
        engine = open_checkpoint(path)
        scores = [
            cycle_score(engine, footage, CycleSettings(seed=seed), options.threads) for seed in range(options.seeds)
        ]
        means = [100 * score.mean for score in scores]
        j, f = 100 * np.mean([_davis(engine, clip, options.threads) for clip in sequences], axis=0)
        row = [
            _name(path),
            (j + f) / 2,
            j,
            f,
            np.mean(means),
            np.std(means, ddof=1) if len(means) > 1 else float("nan"),
        ]
        row += [100 * scores[0].error, scores[0].regions, len(scores[0].clips)]
        rows.append(dict(zip(COLUMNS, [x if isinstance(x, str | int) else f"{x:.2f}" for x in row], strict=True)))
        print(rows[-1], flush=True)
        with options.out.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    if len(rows) > 2:
        jf, cycle = (np.array([float(row[name]) for row in rows]) for name in ("JF", "cycle"))
        print(f"{len(rows)} encoders: Spearman {spearman(jf, cycle):.3f}, Pearson {np.corrcoef(jf, cycle)[0, 1]:.3f}")


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation; equal values share their ranks."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _davis(engine: TorchEngine, clip: Clip, threads: int) -> tuple[float, float]:
    """Mean J and F of one sequence, 0 to 1."""
    frames, masks = clip.frames[::STEP][:FRAMES], clip.masks[::STEP][:FRAMES]
    mask = first_mask(clip, "2016")
    scorer = SequenceScorer("2016")
    features = (engine.run(resize_frame(read_frame(path), SIZE)) for path in frames)
    for found, truth in zip(propagate_masks(features, mask, None, SETTINGS, threads), masks, strict=True):
        scorer.feed_frame(found, true_mask(truth, "2016"))
    score = scorer.conclude().objects[0].statistics
    return score["J"].mean, score["F"].mean


if __name__ == "__main__":
    main()
