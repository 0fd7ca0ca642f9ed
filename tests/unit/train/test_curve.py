"""The curve of a run: means of few steps are no points of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crwedge.train.curve import panels_of, whole_intervals, write_curve
from crwedge.train.journal import read_metrics

REPORTS = [{"step": step, "loss": 1.0 + step, "return/1": 0.5} for step in (20, 40, 47, 60, 80, 81)]
ROWS = [*REPORTS[:2], {"step": 40, "probe/cycle": 0.6}, *REPORTS[2:], {"step": 81, "probe/cycle": 0.7}]


def test_reports_of_fewer_steps_than_usual_are_left_out() -> None:
    # Stopped at 47 and resumed; ended at 81. The report at 60 is of 13 steps.
    assert [row["step"] for row in whole_intervals(ROWS)] == [20, 40, 80]
    for steps in ((3,), (2, 4), (20, 21), ()):
        kept = [row["step"] for row in whole_intervals([{"step": step, "loss": 1.0} for step in steps])]
        assert kept == [step for step in steps if step != 21]


def test_scores_keep_every_step() -> None:
    loss, accuracy, probe = panels_of(ROWS)
    assert loss.series == {"loss": [(20, 21.0), (40, 41.0), (80, 81.0)]}
    assert accuracy.series == {"return/1": [(20, 50.0), (40, 50.0), (80, 50.0)], "return/2": []}
    assert probe.series == {"probe/J": [], "probe/cycle": [(40, 60.0), (81, 70.0)]}


def test_the_committed_runs_end_with_a_whole_interval() -> None:
    folders = [path.parent for path in (Path(__file__).parents[3] / "docs" / "encoder").rglob("metrics.jsonl")]
    assert folders
    for folder in folders:
        reports = whole_intervals(read_metrics(folder))
        assert reports[-1]["step"] - reports[-2]["step"] == reports[1]["step"] - reports[0]["step"]


def test_a_run_without_a_report_has_no_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_curve(tmp_path)
    assert not (tmp_path / "curve.png").exists()
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 82, "lo')
    write_curve(tmp_path)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
