"""The results of a study: results.csv, results.json, plot.png, README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crwedge.core.files import atomic_write
from crwedge.eval.results import write_csv, write_json
from crwedge.studies.plot import plot_rows
from crwedge.studies.study import Study

J_AND_F = "J is the overlap with the truth, F how well the boundaries agree, J&F their mean; all in percent, higher is better."
"""What the columns of a table mean."""

Row = dict[str, Any]


def write_study(study: Study, rows: Sequence[Row], protocol: dict[str, Any], folder: Path, note: str = "") -> Row:
    """Write all files; returns what results.json holds.

    Args:
        study: its texts.
        rows: of `score_study`.
        protocol: what the figures were measured with.
        folder: where to write.
        note: a sentence or two about clips and encoder, below the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    line = conclusion(study, rows)
    statistics = [(m, k) for m in ("J", "F") for k in ("mean", "recall", "decay")]
    extra = [key for key in rows[0] if key not in ("series", "point", "J", "F", "JF")]
    header = ["series", "point", "JF", *(f"{m}_{k}" for m, k in statistics), *extra]
    table = [
        [row["series"], row["point"], row["JF"], *(row[m][k] for m, k in statistics), *(row.get(k) for k in extra)]
        for row in rows
    ]
    write_csv(folder / "results.csv", header, table)
    result = {"study": study.name, "protocol": protocol, "rows": list(rows), "conclusion": line}
    write_json(folder / "results.json", result)
    with atomic_write(folder / "plot.png") as file:
        file.write(plot_rows(study, rows))
    paragraphs = [
        f"# {study.topic.title}",
        f"{line}.",
        f"Paper: {study.topic.section}.",
        J_AND_F,
        "\n".join(_markdown(study, rows)),
        "![plot](plot.png)",
        f"{note} Protocol: `results.json`.".strip(),
    ]
    with atomic_write(folder / "README.md") as file:
        file.write(("\n\n".join(paragraphs) + "\n").encode())
    return result


def conclusion(study: Study, rows: Sequence[Row]) -> str:
    """The result in one line: the best point and its gain, beside the range of the seeds."""
    if study.baseline is not None:
        return "; ".join(_gains(study.baseline, mine) for mine in _by_series(rows) if len(mine) > 1)
    ranked = sorted(rows, key=lambda row: float(row["JF"]), reverse=True)
    best, worst = ranked[0], ranked[-1]
    if study.topic.numeric:
        line = (
            f"J&F is highest at {study.topic.axis} = {best['point']} ({100 * best['JF']:.1f}) and lowest at "
            f"{worst['point']} ({100 * worst['JF']:.1f}), a difference of {100 * (best['JF'] - worst['JF']):.1f} points"
        )
    else:
        rest = ", ".join(f"{row['point']} {100 * row['JF']:.1f}" for row in ranked[1:])
        gain = 100 * (ranked[0]["JF"] - ranked[1]["JF"]) if len(ranked) > 1 else 0.0
        line = f"{best['point']} is best with J&F {100 * best['JF']:.1f} ({rest}): {gain:+.1f} points over the next"
    if not any(study.seeded(row["point"]) for row in rows):
        return line
    seeds = max(row["seeds"] for row in rows)
    if seeds == 1:
        return f"{line}; one run of each point, so the variance is unknown"
    return f"{line}; the {seeds} seeds of a point differ by up to {_spread(rows):.1f}"


def _gains(baseline: str, rows: Sequence[Row]) -> str:
    """One encoder: the best and the worst point relative to the baseline."""
    base = next((row for row in rows if row["point"] == baseline), None)
    others = [row for row in rows if row["point"] != baseline]
    best, worst = max(others, key=lambda row: float(row["JF"])), min(others, key=lambda row: float(row["JF"]))
    spread = f"seeds differ by up to {_spread(others):.1f}"
    if base is None:
        return f"encoder {rows[0]['series']}: J&F {100 * best['JF']:.1f} at best ({best['point']}); {spread}"
    up, down = (100 * (row["JF"] - base["JF"]) for row in (best, worst))
    return (
        f"encoder {rows[0]['series']}: J&F {100 * base['JF']:.1f} without, {up:+.1f} at best ({best['point']}), "
        f"{down:+.1f} at worst ({worst['point']}); {spread}"
    )


def _markdown(study: Study, rows: Sequence[Row]) -> list[str]:
    """The table of README.md."""
    several = any(row["series"] for row in rows)
    again = any(row["seeds"] > 1 for row in rows)
    columns = {key: heading for key, heading in study.columns.items() if any(row.get(key) is not None for row in rows)}
    headings = [*(["encoder"] if several else []), study.topic.axis, "J&F", "J", "F"]
    headings += [*(["J&F of the seeds"] if again else []), *columns.values()]
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    for row in rows:
        cells = [*([row["series"]] if several else []), row["point"]]
        cells += [f"{100 * value:.1f}" for value in (row["JF"], row["J"]["mean"], row["F"]["mean"])]
        cells += [f"{100 * row['JF_low']:.1f} to {100 * row['JF_high']:.1f}"] if again else []
        cells += ["" if row.get(key) is None else f"{row[key]:.4g}" for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _by_series(rows: Sequence[Row]) -> list[list[Row]]:
    return [[row for row in rows if row["series"] == name] for name in dict.fromkeys(row["series"] for row in rows)]


def _spread(rows: Sequence[Row]) -> float:
    return 100 * max(float(row["JF_high"] - row["JF_low"]) for row in rows)
