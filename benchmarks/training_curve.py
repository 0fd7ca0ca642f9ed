"""Draw a training run: loss and return accuracy by step, and J&F of checkpoints where they were scored.

    python benchmarks/training_curve.py docs/encoder/metrics.jsonl --scores docs/encoder/scores.csv --out docs/encoder/curve.png

The scores are a CSV with the columns step, JF and protocol.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Read, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path, help="metrics.jsonl of a run")
    parser.add_argument("--scores", type=Path, help="CSV with the columns step, JF, protocol")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.metrics.read_text().splitlines()]
    lines = [line for line in lines if "loss" in line]
    # A line is the mean of the steps since the one before. The last may be of a single step: that is no point of a curve.
    if len(lines) > 2 and lines[-1]["step"] - lines[-2]["step"] < lines[1]["step"] - lines[0]["step"]:
        lines.pop()
    steps = [line["step"] for line in lines]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    axes[0].plot(steps, [line["loss"] for line in lines])
    axes[0].set(title="loss", xlabel="step", ylabel="cross-entropy, nats")
    axes[1].plot(steps, [100 * line["return/1"] for line in lines])
    axes[1].set(title="return accuracy", xlabel="step", ylabel="% of the nodes")
    if options.scores:
        rows = list(csv.DictReader(options.scores.open()))
        for protocol in dict.fromkeys(row["protocol"] for row in rows):
            chosen = [row for row in rows if row["protocol"] == protocol]
            points = [(int(row["step"]), float(row["JF"])) for row in chosen]
            axes[2].plot(*zip(*points, strict=True), marker="o", label=protocol)
        axes[2].legend(fontsize=8)
    axes[2].set(title="J&F, ten development sequences", xlabel="step", ylabel="points")
    for one in axes:
        one.grid(alpha=0.3)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
