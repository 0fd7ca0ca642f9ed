"""The plot of a study (matplotlib, extra `eval`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from crwedge.core.optional import import_optional
from crwedge.studies.study import Study


def plot_rows(study: Study, rows: Sequence[dict[str, Any]]) -> bytes:
    """J&F in percent over the points, with the range of the seeds, as a PNG.

    With one encoder J and F are drawn too; with a baseline its J&F is a dashed line.
    """
    import_optional("matplotlib", extra="eval")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = [point for point in dict.fromkeys(row["point"] for row in rows) if point != study.baseline]
    names = list(dict.fromkeys(row["series"] for row in rows))
    style = "-" if study.topic.numeric else ""
    figure = Figure(figsize=(max(6.0, 0.7 * len(points) + 2), 4), layout="constrained")
    axes = figure.add_subplot()
    for name in names:
        mine = {row["point"]: row for row in rows if row["series"] == name}
        shown = [point for point in points if point in mine]
        places = [points.index(point) for point in shown]
        values = [100 * mine[point]["JF"] for point in shown]
        low = [value - 100 * mine[point]["JF_low"] for value, point in zip(values, shown, strict=True)]
        high = [100 * mine[point]["JF_high"] - value for value, point in zip(values, shown, strict=True)]
        line = axes.errorbar(
            places, values, yerr=[low, high], marker="o", linestyle=style, capsize=3, label=f"J&F {name}".strip()
        )
        if study.baseline in mine:
            base = 100 * mine[study.baseline]["JF"]
            axes.axhline(base, linestyle="--", color=line[0].get_color(), label=f"{study.baseline} {name}".strip())
        if len(names) == 1:
            for measure in ("J", "F"):
                means = [100 * mine[point][measure]["mean"] for point in shown]
                axes.plot(places, means, marker=".", linestyle=style, linewidth=1, label=measure)
    labels = [point.replace(", ", ",\n") for point in points]
    crowded = sum(map(len, labels)) > 60
    axes.set_xticks(range(len(points)), labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlabel(study.topic.axis)
    axes.set_ylabel("percent")
    axes.set_title(study.topic.title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
