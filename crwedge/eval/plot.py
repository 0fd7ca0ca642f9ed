"""The plot of a study (matplotlib, extra `eval`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.core.files import atomic_write
from crwedge.core.optional import import_optional

if TYPE_CHECKING:
    from crwedge.eval.studies import Study


def plot_study(study: Study, rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw J&F, J and F in percent over the points of a study."""
    import_optional("matplotlib", extra="eval")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    labels = [row["point"].replace(", ", ",\n") for row in rows]
    lines = {
        "J&F": [100 * row["JF"] for row in rows],
        "J": [100 * row["J"]["mean"] for row in rows],
        "F": [100 * row["F"]["mean"] for row in rows],
    }
    places = list(range(len(rows)))
    for number, (name, values) in enumerate(lines.items()):
        if study.numeric:
            axes.plot(places, values, marker="o", linewidth=2 if number == 0 else 1, label=name)
        else:
            axes.bar([place + 0.25 * (number - 1) for place in places], values, width=0.25, label=name)
    if rows[0].get("seeds", 1) > 1:
        # Bars of J&F are left of the point, lines are on it.
        shifted = [place - (0.0 if study.numeric else 0.25) for place in places]
        ends = [
            [100 * (row["JF"] - row["JF_low"]) for row in rows],
            [100 * (row["JF_high"] - row["JF"]) for row in rows],
        ]
        axes.errorbar(shifted, lines["J&F"], yerr=ends, fmt="none", ecolor="black", capsize=3, label="seeds of J&F")
    if not study.numeric:
        low = min(min(values) for values in lines.values())
        axes.set_ylim(max(0, low - 10))
    axes.set_xticks(places, labels)
    axes.set_xlabel(study.axis)
    axes.set_ylabel("percent")
    axes.set_title(study.title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
