"""The curve of a run: loss, return accuracy and scores by step."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crwedge.core.files import atomic_write
from crwedge.train.journal import read_metrics


@dataclass(frozen=True)
class Panel:
    """One plot by step."""

    title: str
    unit: str
    """Of the vertical axis."""
    series: Mapping[str, Sequence[tuple[float, float]]]
    """Points (step, value) by name."""


def write_curve(folder: Path) -> None:
    """Draw metrics.jsonl of a run as curve.png. Does nothing where matplotlib is not installed or nothing was reported."""
    rows = read_metrics(folder)
    if rows and find_spec("matplotlib") is not None:
        draw(panels_of(rows), folder / "curve.png")


def panels_of(rows: Sequence[Mapping[str, float]]) -> list[Panel]:
    """Loss, return accuracy and probe of the reports of a run, see `read_metrics`."""
    means = whole_intervals(rows)
    return [
        Panel("loss", "cross-entropy, nats", {"loss": _points(means, "loss")}),
        Panel(
            "return accuracy", "% of the nodes", {name: _points(means, name, 100) for name in ("return/1", "return/2")}
        ),
        Panel("probe", "J in points", {name: _points(rows, name, 100) for name in ("probe/J", "probe/cycle")}),
    ]


def whole_intervals(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The reports of training steps, without those of fewer steps than usual: at the end, and after a run was resumed.

    A report is the mean of the steps since the one before. The mean of one step is no point of a curve.
    """
    reports = [row for row in rows if "loss" in row]
    steps = [now["step"] - before for now, before in zip(reports, [0, *(row["step"] for row in reports)], strict=False)]
    usual = statistics.mode(steps) if steps else 0
    return [row for row, count in zip(reports, steps, strict=True) if count >= usual]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels beside each other as a PNG; needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name, points in panel.series.items():
            if points:
                axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 30 else "", label=name)
        if axes.lines:
            axes.legend(fontsize=8)
        axes.set(title=panel.title, xlabel="step", ylabel=panel.unit)
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def _points(rows: Sequence[Mapping[str, float]], name: str, factor: float = 1) -> list[tuple[float, float]]:
    return [(row["step"], factor * row[name]) for row in rows if name in row]
