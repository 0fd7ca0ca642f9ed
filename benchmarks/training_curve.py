"""Draw a training run as training does, with J&F of checkpoints, where they were scored, in place of the probe.

    python benchmarks/training_curve.py docs/encoder --scores docs/encoder/scores.csv --out docs/encoder/curve.png

The scores are a CSV with the columns step, JF and protocol.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from crwedge.train.curve import Panel, draw, panels_of
from crwedge.train.journal import read_metrics


def main() -> None:
    """Read, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with metrics.jsonl")
    parser.add_argument("--scores", type=Path, help="CSV with the columns step, JF, protocol")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_metrics(options.run)
    if not rows:
        parser.error(f"{options.run} has no metrics.jsonl with a report")
    panels = panels_of(rows)
    if options.scores:
        series: dict[str, list[tuple[float, float]]] = {}
        for row in csv.DictReader(options.scores.read_text().splitlines()):
            series.setdefault(row["protocol"], []).append((int(row["step"]), float(row["JF"])))
        panels[-1] = Panel("J&F, ten development sequences", "points", series)
    draw(panels, options.out)


if __name__ == "__main__":
    main()
