"""report.html of a run: protocol, scores and contact sheets in one file."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

from crwedge.core.files import atomic_write
from crwedge.eval.published import DAVIS_2017_VAL
from crwedge.eval.results import plain

SHOWN = 3
"""Number of best and of worst sequences with a contact sheet."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.published td{color:#666;font-style:italic}img{max-width:100%}
pre{background:#f5f5f5;padding:.7rem;overflow:auto}.score{font-size:1.6rem}.note{color:#666}
"""


def figure_of(score: dict[str, Any]) -> tuple[str, float]:
    """Name and value of the measure that sequences are ranked by."""
    if "JF" in score:
        return "J&F", _number(score["JF"])
    if "PCK" in score:
        return "PCK@0.1", _number(score["PCK"].get("0.1"))
    return "mIoU", _number(score["mIoU"])


def headline(summary: dict[str, Any]) -> str:
    """The score in one line, in percent."""
    if "JF" in summary:
        parts = [f"J&F {_percent(summary['JF'])}"]
        for measure in ("J", "F"):
            words = " ".join(f"{key} {_percent(summary[measure][key])}" for key in ("mean", "recall", "decay"))
            parts.append(f"{measure} {words}")
        if cost := summary.get("cost"):
            parts.append(f"{cost['cells']:,.0f} cells and {cost['frame_ms']:.0f} ms a frame")
        return "   ".join(parts)
    if "PCK" in summary:
        return "   ".join(f"PCK@{key} {_percent(value)}" for key, value in summary["PCK"].items())
    return f"mIoU {_percent(summary['mIoU'])}"


def write_report(folder: Path, summary: dict[str, Any]) -> Path:
    """Write `report.html` to a folder of results; returns its path."""
    ranked = sorted(summary["sequences"], key=lambda name: figure_of(summary["sequences"][name])[1], reverse=True)
    best = ranked[:SHOWN]
    worst = [name for name in reversed(ranked) if name not in best][:SHOWN]
    measure = figure_of(summary["sequences"][ranked[0]])[0] if ranked else ""
    parts = [
        f"<h1>{escape(str(summary['protocol']['benchmark']))}</h1>",
        f"<p class=score>{escape(headline(summary))}</p>",
        "<h2>Protocol</h2><pre>" + escape(json.dumps(plain(summary["protocol"]), indent=1)) + "</pre>",
        "<h2>Sequences</h2>",
        _table([["sequence", measure], *([name, _percent(_rank(summary, name))] for name in ranked)]),
    ]
    for title, names in (("Best", best), ("Worst", worst)):
        if names:
            parts.append(f"<h2>{title}</h2><p class=note>Upper row: predicted. Lower row: true.</p>")
        for name in names:
            parts.append(f"<h3>{escape(name)} ({escape(measure)} {_percent(_rank(summary, name))})</h3>")
            parts.append(_picture(folder / "sheets" / f"{name}.jpg"))
    if "JF" in summary:
        parts.append(_published(summary))
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>crwedge eval</title><style>{_STYLE}</style><body>"
    path = folder / "report.html"
    with atomic_write(path) as file:
        file.write((page + "\n".join(parts) + "</body></html>\n").encode())
    return path


def _rank(summary: dict[str, Any], name: str) -> float:
    return figure_of(summary["sequences"][name])[1]


def _published(summary: dict[str, Any]) -> str:
    header = ["method", "backbone", "training data", "J&F", "J mean", "J recall", "F mean", "F recall"]
    ours = ["this run", str(summary["protocol"].get("encoder", {}).get("name", "")), ""]
    ours += [_percent(summary["JF"])]
    ours += [_percent(summary[m][k]) for m in ("J", "F") for k in ("mean", "recall")]
    rows = [
        [f"{row.method} (published)", row.backbone, row.data]
        + ["-" if v is None else f"{v:.1f}" for v in (row.jf, row.j_mean, row.j_recall, row.f_mean, row.f_recall)]
        for row in DAVIS_2017_VAL
    ]
    return (
        "<h2>Beside published figures</h2><p class=note>Rows in italics are copied from table 3 of the paper's "
        "appendix: the DAVIS 2017 val set, 30 sequences. They compare with this run only where it scored the same "
        "sequences by the same rule; nothing in them was measured here. Training data: I ImageNet, K Kinetics, "
        "V ImageNet-VID, C COCO, D DAVIS, M Mapillary, P PASCAL-VOC, Y YouTube-VOS.</p>"
        + _table([header, ours], [*rows])
    )


def _table(rows: list[list[str]], published: list[list[str]] | None = None) -> str:
    def line(cells: list[str], tag: str = "td", kind: str = "") -> str:
        return f"<tr{kind}>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = [line(rows[0], "th"), *(line(row) for row in rows[1:])]
    body += [line(row, kind=" class=published") for row in published or []]
    return "<table>" + "".join(body) + "</table>"


def _picture(path: Path) -> str:
    if not path.is_file():
        return "<p class=note>no picture</p>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}">'


def _number(value: float | None) -> float:
    return float("-inf") if value is None else value


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value or value == float("-inf") else f"{100 * value:.1f}"
