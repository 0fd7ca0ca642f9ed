"""What `crwedge study ttt` writes: results.csv, results.json, plot.png, README.md."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crwedge.core.files import atomic_write
from crwedge.core.optional import import_optional

_OFF = "off"


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """For each encoder: what the best setting is worth against none, beside the spread of the seeds."""
    parts = []
    for name in dict.fromkeys(row["encoder"] for row in rows):
        mine = [row for row in rows if row["encoder"] == name]
        off = next((row for row in mine if row["point"] == _OFF), None)
        others = [row for row in mine if row["point"] != _OFF]
        if off is None or not others:
            continue
        best, worst = max(others, key=lambda row: row["JF"]), min(others, key=lambda row: row["JF"])
        spread = max(row["JF_high"] - row["JF_low"] for row in others)
        parts.append(
            f"encoder {name}: J&F {off['JF']:.1f} without, {best['JF'] - off['JF']:+.1f} at best ({best['point']}), "
            f"{worst['JF'] - off['JF']:+.1f} at worst ({worst['point']}); seeds differ by up to {spread:.1f}"
        )
    return "; ".join(parts)


def write_report(rows: Sequence[dict[str, Any]], protocol: dict[str, Any], folder: Path, note: str) -> dict[str, Any]:
    """Write all files; returns what results.json holds."""
    from crwedge.eval.results import write_csv, write_json
    from crwedge.eval.studies import J_AND_F

    folder.mkdir(parents=True, exist_ok=True)
    line = conclusion(rows)
    write_csv(folder / "results.csv", list(rows[0]), [list(row.values()) for row in rows])
    result = {"study": "ttt", "protocol": protocol, "rows": list(rows), "conclusion": line}
    write_json(folder / "results.json", result)
    with atomic_write(folder / "plot.png") as file:
        file.write(plot(rows))
    table = [
        f"| {r['encoder']} | {r['point']} | {r['JF']:.2f} | {r['JF_low']:.2f} to {r['JF_high']:.2f} | {r['J']:.1f} | "
        f"{r['F']:.1f} | {r['seconds_a_frame']:.2f} | {r['undone']} |"
        for r in rows
    ]
    text = [
        "# Test-time training",
        "",
        f"{line}.",
        "",
        "Paper: appendix H fine-tunes on the frames t-10 .. t+10, every 5 frames, with 100 updates; it gives no figure.",
        "",
        f"{J_AND_F} Seconds a frame: tracking and training together.",
        "",
        "| encoder | setting | J&F | over the seeds | J | F | seconds a frame | windows undone |",
        "|---|---|---|---|---|---|---|---|",
        *table,
        "",
        "![plot](plot.png)",
        "",
        f"{note} Protocol: `results.json`.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
    return result


def plot(rows: Sequence[dict[str, Any]]) -> bytes:
    """Change of J&F against no training, with the range of the seeds, as a PNG."""
    import_optional("matplotlib", extra="eval")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["encoder"] for row in rows))
    labels = list(dict.fromkeys(row["point"] for row in rows if row["point"] != _OFF))
    figure = Figure(figsize=(7, 0.45 * len(labels) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    for number, name in enumerate(names):
        mine = {row["point"]: row for row in rows if row["encoder"] == name}
        base = mine[_OFF]["JF"] if _OFF in mine else 0.0
        shown = [label for label in labels if label in mine]
        places = [labels.index(label) + 0.2 * (number - (len(names) - 1) / 2) for label in shown]
        gains = [mine[label]["JF"] - base for label in shown]
        low = [mine[label]["JF"] - mine[label]["JF_low"] for label in shown]
        high = [mine[label]["JF_high"] - mine[label]["JF"] for label in shown]
        axes.errorbar(gains, places, xerr=[low, high], fmt="o", capsize=3, label=f"{name} (off: {base:.1f})")
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("change of J&F against none, in points (bars: all seeds)")
    axes.legend()
    axes.grid(axis="x", alpha=0.3)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
