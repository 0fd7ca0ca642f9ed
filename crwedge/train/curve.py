"""The curve of a run: loss, return accuracy and probe by step."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

from crwedge.core.files import atomic_write
from crwedge.train.journal import read_metrics

_PANELS = (
    ("loss", {"loss": 1.0}, "loss"),
    ("return accuracy, %", {"return/1": 100.0, "return/2": 100.0}, "percent of the nodes"),
    ("probe", {"probe/J": 100.0, "probe/cycle": 100.0}, "J in points"),
)
"""Title, series with their factors, vertical axis."""


def write_curve(folder: Path) -> None:
    """Draw metrics.jsonl of a run as curve.png. Does nothing where matplotlib is not installed or nothing was reported."""
    rows = read_metrics(folder)
    if not rows or find_spec("matplotlib") is None:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, (title, series, unit) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for name, factor in series.items():
            points = [(row["step"], factor * row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 30 else "", label=name)
        if axes.lines:
            axes.legend(fontsize=8)
        axes.set(title=title, xlabel="step", ylabel=unit)
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with atomic_write(folder / "curve.png") as file:
        file.write(buffer.getvalue())
