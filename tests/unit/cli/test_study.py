"""`crwedge study` from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crwedge.cli import run


def test_study_writes_table_plot_and_conclusion(
    davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    arguments = [
        "study",
        "locality",
        str(davis_tree / "one"),
        "--encoder",
        "colour",
        "--size",
        "frame",
        "--threads",
        "1",
    ]
    arguments += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--json"]
    assert run(arguments) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["point"] for row in result["rows"]] == ["local", "everywhere"]
    assert result["protocol"]["frames"] == {"one": 5}
    assert "is best" in result["conclusion"]
    assert len(list((tmp_path / "work" / "features").glob("*.npy"))) == 1
    assert (tmp_path / "out" / "plot.png").is_file()
    before = (tmp_path / "out" / "results.json").read_bytes()
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    assert run([*arguments, "--overwrite"]) == 0


def test_results_go_below_runs_by_default(davis_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    words = ["study", "locality", str(davis_tree / "one"), "--encoder", "colour", "--size", "frame", "--threads", "1"]
    assert run(words) == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "runs"}
    assert (tmp_path / "runs" / "study-locality" / "results" / "results.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["magic", "{tree}"], "unknown study"), (["topk", "nowhere"], "nowhere"), (["dropout", "{tree}"], "--videos")],
)
def test_errors_are_one_line(
    davis_tree: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["study", *(word.format(tree=davis_tree) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_studies_share_their_features(davis_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for name, points in (("joint-topk", 2), ("radius", 5)):
        arguments = ["study", name, str(davis_tree / "one"), "--encoder", "colour", "--size", "frame", "--threads", "1"]
        assert run(arguments) == 0
        table = (tmp_path / "runs" / f"study-{name}" / "results" / "results.csv").read_text().splitlines()
        assert len(table) == 1 + points
        assert len(list((tmp_path / "runs" / "study-features").glob("*.npy"))) == 1
        assert "points" in {path.name for path in (tmp_path / "runs" / f"study-{name}").iterdir()}
