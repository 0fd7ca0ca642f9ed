"""The paper's studies of label propagation: one setting is varied, all others are fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crwedge.core.errors import SettingError
from crwedge.core.settings import PRESETS, PropagationSettings
from crwedge.eval.datasets import Clip
from crwedge.eval.davis import score_clip
from crwedge.eval.follow import Follower
from crwedge.eval.results import ResultFolder, write_csv, write_json
from crwedge.eval.scorer import SequenceScore, overall

J_AND_F = "J is the overlap with the truth, F how well the boundaries agree, J&F their mean; all in percent, higher is better."
"""What the columns of a table mean."""
SMALL_SEQUENCES = 4
SMALL_FRAMES = 24
SMALL_SIZE = (240, 427)
"""Sequences, frames and (H, W) of a small study."""


@dataclass(frozen=True)
class Study:
    """A study: its points and its texts."""

    name: str
    title: str
    axis: str
    """Name of what the points vary."""
    section: str
    """Section of the paper's appendix, and its result."""
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Label -> changes of the base protocol."""
    numeric: bool = True
    """Whether the labels are numbers."""

    def settings(self, label: str, base: PropagationSettings) -> PropagationSettings:
        """Settings of a point."""
        changes = self.points[label]
        return PRESETS[changes["preset"]] if "preset" in changes else replace(base, **changes)


def _points(setting: str, values: Sequence[float]) -> dict[str, dict[str, Any]]:
    return {f"{value:g}": {setting: value} for value in values}


PROPAGATION: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "context",
            "Length of the context",
            "context frames m",
            "appendix F.1: more context helps (k = 10, r = 12)",
            _points("context_length", (1, 4, 7, 12, 20)),
        ),
        Study(
            "topk",
            "Number of neighbours",
            "neighbours k",
            "appendix F.1: effect of considering more neighbours (r = 12)",
            _points("topk", (1, 5, 10, 20, 50)),
        ),
        Study(
            "radius",
            "Search radius",
            "radius r in cells",
            "appendix F.1: effect of the radius (m = 20)",
            _points("radius", (4, 8, 12, 20, 30)),
        ),
        Study(
            "locality",
            "Local attention or all cells of the context",
            "source cells",
            "appendix F, 1: local attention gains about 4 points of J&F (ImageNet encoder)",
            {"local": {}, "everywhere": {"radius": math.inf}},
            numeric=False,
        ),
        Study(
            "joint-topk",
            "The k nearest of all frames together, or of each frame",
            "neighbours taken",
            "appendix F, 2: all frames together gains about 3 points of J&F (ImageNet encoder)",
            {"joint": {}, "each frame": {"topk_over": "frame"}},
            numeric=False,
        ),
        Study(
            "temperature",
            "Temperature of the propagation",
            "temperature",
            "appendix E: 0.07",
            _points("temperature", (0.02, 0.05, 0.07, 0.1, 0.2)),
        ),
        Study(
            "first-frame",
            "Search the first frame everywhere or in the window",
            "first frame",
            "not in the appendix: the published code searches it everywhere",
            {"global": {}, "restricted": {"first_frame": "restricted"}},
            numeric=False,
        ),
        Study(
            "presets",
            "Whole protocols",
            "preset",
            "not in the appendix: protocols of later work with the same encoder",
            {name: {"preset": name} for name in PRESETS},
            numeric=False,
        ),
    )
}


def propagation_study(
    study: Study, clips: Sequence[Clip], follower: Follower, folder: Path, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Score every point of a study; finished points are read from `folder`.

    Args:
        study: the points.
        clips: sequences to score.
        follower: the base protocol. With a feature cache each clip is encoded once for all points and studies.
        folder: scores of finished points.
        say: gets one line for each clip and each point.

    Returns:
        One row a point: label, J&F, J and F with their statistics.
    """
    if not clips:
        raise SettingError("a study needs at least one sequence")
    points = {label: replace(follower, settings=study.settings(label, follower.settings)) for label in study.points}
    frames = {clip.name: len(clip.frames) for clip in clips}
    kept = {
        label: ResultFolder(
            folder / "points" / label.replace(" ", "-"), {**point.protocol(), "rule": "2017", "frames": frames}
        )
        for label, point in points.items()
    }
    scores: dict[str, dict[str, SequenceScore]] = {label: {} for label in points}
    for clip in clips:
        for label in points:
            if (known := kept[label].load(clip.name)) is not None:
                scores[label][clip.name] = SequenceScore.from_dict(known)
        missing = [label for label in points if clip.name not in scores[label]]
        for label in missing:
            score = score_clip(clip, points[label], "2017")
            kept[label].save(clip.name, score.to_dict())
            scores[label][clip.name] = score
        say(f"{clip.name}: {len(points)} points" + ("" if missing else " (done before)"))
    rows = [{"point": label, **overall(scores[label])} for label in points]
    for row in rows:
        say(f"{study.axis} {row['point']}: J&F {100 * row['JF']:.1f}")
    return rows


def conclusion(study: Study, rows: Sequence[dict[str, Any]]) -> str:
    """The result in one line: the best point, its gain and, for runs with several seeds, their range."""
    best, worst = max(rows, key=lambda row: row["JF"]), min(rows, key=lambda row: row["JF"])
    if study.numeric:
        line = (
            f"J&F is highest at {study.axis} = {best['point']} ({100 * best['JF']:.1f}) and lowest at {worst['point']} "
            f"({100 * worst['JF']:.1f}): the choice is worth {100 * (best['JF'] - worst['JF']):.1f} points here"
        )
    else:
        ranked = sorted(rows, key=lambda row: row["JF"], reverse=True)
        rest = ", ".join(f"{row['point']} {100 * row['JF']:.1f}" for row in ranked[1:])
        gain = 100 * (ranked[0]["JF"] - ranked[1]["JF"]) if len(ranked) > 1 else 0.0
        line = f"{best['point']} is best with J&F {100 * best['JF']:.1f} ({rest}): {gain:+.1f} points over the next"
    if "seeds" not in rows[0]:
        return line
    if rows[0]["seeds"] == 1:
        return f"{line}; one run of each point, so chance is not known"
    spread = 100 * max(row["JF_high"] - row["JF_low"] for row in rows)
    return f"{line}; the {rows[0]['seeds']} seeds of a point differ by up to {spread:.1f}"


def write_study(
    study: Study, rows: Sequence[dict[str, Any]], protocol: dict[str, Any], folder: Path, notes: str = ""
) -> dict[str, Any]:
    """Write results.csv, results.json, plot.png and README.md; returns the contents of results.json."""
    from crwedge.eval.plot import plot_study

    folder.mkdir(parents=True, exist_ok=True)
    line = conclusion(study, rows)
    extra = [key for key in rows[0] if key not in ("point", "J", "F", "JF")]
    header = ["point", "JF", *(f"{m}_{k}" for m in ("J", "F") for k in ("mean", "recall", "decay")), *extra]
    table = [
        [
            row["point"],
            row["JF"],
            *(row[m][k] for m in ("J", "F") for k in ("mean", "recall", "decay")),
            *(row[key] for key in extra),
        ]
        for row in rows
    ]
    write_csv(folder / "results.csv", header, table)
    result = {"study": study.name, "protocol": protocol, "rows": list(rows), "conclusion": line}
    write_json(folder / "results.json", result)
    plot_study(study, rows, folder / "plot.png")
    again = rows[0].get("seeds", 1) > 1
    text = [
        f"# {study.title}",
        "",
        f"{line}.",
        "",
        f"Paper: {study.section}.",
        "",
        J_AND_F,
        "",
        f"| {study.axis} | J&F | J | F |" + (" J&F of the seeds |" if again else ""),
        "|---|---|---|---|" + ("---|" if again else ""),
        *(
            f"| {row['point']} | {100 * row['JF']:.1f} | {100 * row['J']['mean']:.1f} | {100 * row['F']['mean']:.1f} |"
            + (f" {100 * row['JF_low']:.1f} to {100 * row['JF_high']:.1f} |" if again else "")
            for row in rows
        ),
        "",
        "![plot](plot.png)",
        "",
        f"Protocol: `results.json`. {notes}".rstrip(),
        "",
    ]
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
    return result
