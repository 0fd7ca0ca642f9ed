"""The study of test-time training: its points, its way to go on, its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crwedge import cli
from crwedge.adapt.settings import TestTimeSettings
from crwedge.studies import test_time as ttt_study
from crwedge.studies.test_time import TestTimeStudy
from crwedge.studies.writer import conclusion
from tests.unit.conftest import write_davis_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_davis_tree(tmp_path / "tree", ("one",), size=(48, 64), objects=1)


@pytest.mark.parametrize("label", [label for label in ttt_study.POINTS if label != ttt_study.OFF])
def test_every_point_differs_from_the_base_and_can_be(label: str) -> None:
    base = TestTimeSettings(synchronous=True, layers="all", updates=40)
    point = ttt_study.point_settings(label, {"updates": 40})
    assert (point == base) == (label == "causal")


def test_factors_apply_to_the_base() -> None:
    assert ttt_study.point_settings("three times the updates", {"updates": 10}).updates == 30
    assert ttt_study.point_settings("a quarter of the updates", {"updates": 2}).updates == 1
    assert ttt_study.point_settings("ten times the rate", {}).learning_rate == pytest.approx(1e-3)


def test_a_study_is_written_and_goes_on_where_it_was(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["points=off,causal", "updates=1", "size=32", "clips=1", "every=3", "m=2", "tolerance=10"]
    command = ["study", "ttt", str(tree), "--small", "--model", str(_shipped()), "--size", "frame", "--threads", "1"]
    command += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--json"]
    command += [word for text in words for word in ("--set", text)]
    assert cli.run(command) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["point"], row["seeds"]) for row in first["rows"]] == [("off", 1), ("causal", 2)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "plot.png",
        "results.csv",
        "results.json",
    }
    monkeypatch.setattr(ttt_study, "score_clip", lambda *_: pytest.fail("scored again"))
    assert cli.run([*command, "--overwrite"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["rows"] == first["rows"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--set", "points=sideways"], "no point 'sideways'"), (["--encoder", "colour"], "colour has none")],
)
def test_what_cannot_be_studied(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert cli.run(["study", "ttt", str(tree), "--small", "--work", str(tmp_path / "w"), *options]) == 2
    assert reason in capsys.readouterr().err


def test_the_conclusion_sets_gains_beside_the_spread() -> None:
    row: dict[str, Any] = {"series": "e", "JF_low": 0.6, "JF_high": 0.6}
    rows = [
        {**row, "point": "off", "JF": 0.6},
        {**row, "point": "causal", "JF": 0.61, "JF_low": 0.605, "JF_high": 0.615},
        {**row, "point": "last layers", "JF": 0.59, "JF_low": 0.59, "JF_high": 0.59},
    ]
    text = conclusion(TestTimeStudy.__new__(TestTimeStudy), rows)
    assert "60.0 without, +1.0 at best (causal), -1.0 at worst (last layers); seeds differ by up to 1.0" in text


def _shipped() -> Path:
    from crwedge.runtime.bundle_lookup import shipped_bundle

    return shipped_bundle()
