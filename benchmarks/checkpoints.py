"""Score training checkpoints against each other by a short protocol: what ablations of a recipe are ranked by.

    python benchmarks/checkpoints.py DAVIS runs/a runs/b/encoder.safetensors --out scores.csv

Each argument after DAVIS is a run's folder (its encoder.safetensors) or an encoder file. DAVIS 2016 rules, the first
`--frames` of each sequence at its own size, preset crw but for `--context`; PyTorch, in bfloat16 unless `--precision float32`.
Prints J, F and J&F of each, the mean over the sequences, and appends a row to the CSV.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from crwedge.core.settings import PropagationSettings
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import first_mask, true_mask
from crwedge.eval.follow import read_frame
from crwedge.eval.scorer import SequenceScorer
from crwedge.model.checkpoint import load_encoder
from crwedge.model.encoder import Encoder
from crwedge.runtime.propagation.propagate import propagate_masks
from crwedge.train.probe import frame_features


def main() -> None:
    """Score, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--context", type=int, default=7)
    parser.add_argument("--temperature", type=float, default=0.07, help="of the propagation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--out", type=Path, help="CSV to append to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = PropagationSettings(context_length=options.context, temperature=options.temperature)
    clips = [clip.first(options.frames) for clip in davis_clips(options.davis)]
    for path in options.checkpoints:
        file = path / "encoder.safetensors" if path.is_dir() else path
        encoder = load_encoder(file)[0].eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        scores = np.array([_score(encoder, clip, settings, options.precision, options.threads) for clip in clips])
        j, f = (100 * float(value) for value in scores.mean(axis=0))
        each = " ".join(
            f"{clip.name} {100 * float(score.mean()):.1f}" for clip, score in zip(clips, scores, strict=True)
        )
        print(f"{path}: J {j:.1f} F {f:.1f} J&F {(j + f) / 2:.1f}  ({each})", flush=True)
        if options.out:
            new = not options.out.exists()
            with options.out.open("a", newline="") as stream:
                table = csv.writer(stream)
                if new:
                    table.writerow(["checkpoint", "frames", "context", "temperature", "precision", "J", "F", "JF"])
                row = [path, options.frames, options.context, options.temperature, options.precision]
                table.writerow([*row, f"{j:.2f}", f"{f:.2f}", f"{(j + f) / 2:.2f}"])


def _score(
    encoder: Encoder, clip: Clip, settings: PropagationSettings, precision: str, threads: int
) -> tuple[float, float]:
    """Mean J and F of one sequence, 0 to 1."""
    scorer = SequenceScorer("2016")
    features = (frame_features(encoder, read_frame(path), precision) for path in clip.frames)
    masks = propagate_masks(features, first_mask(clip, "2016"), settings=settings, workers=threads)
    for ids, truth in zip(masks, clip.masks, strict=True):
        scorer.feed_frame(ids, true_mask(truth, "2016"))
    score = scorer.conclude().objects[0].statistics
    return score["J"].mean, score["F"].mean


if __name__ == "__main__":
    main()
