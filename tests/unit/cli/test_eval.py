"""`crwedge eval` from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crwedge.cli import run
from crwedge.studies.baselines import random_bundle

QUICK = (
    "--encoder",
    "colour",
    "--set",
    "context=2",
    "--set",
    "topk=3",
    "--set",
    "radius=4",
    "--threads",
    "1",
    "--json",
)


def last_line(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return value


def test_davis(davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "davis", str(davis_tree), "--out", str(tmp_path), *QUICK]) == 0
    result = last_line(capsys.readouterr().out)
    assert {"protocol", "J", "F", "JF", "sequences"} <= set(result)
    assert set(result["J"]) == {"mean", "recall", "decay"}
    assert {"mean", "recall", "decay", "raw"} <= set(result["sequences"]["one"]["F"])
    assert result["protocol"]["settings"]["topk"] == 3
    assert result["protocol"]["encoder"]["name"] == "colour"
    for name in ("report.html", "sequences.csv", "frames.csv", "summary.json"):
        assert (tmp_path / name).is_file()
    assert run(["eval", "davis", str(davis_tree), "--out", str(tmp_path), *QUICK]) == 0
    again = capsys.readouterr()
    assert again.err.count("done before") == 2
    assert last_line(again.out) == result


def test_davis_in_processes(davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "davis", str(davis_tree), "--out", str(tmp_path / "a"), *QUICK]) == 0
    assert run(["eval", "davis", str(davis_tree), "--out", str(tmp_path / "b"), "--jobs", "2", *QUICK]) == 0
    one, two = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    for summary in (one, two):
        for score in summary["sequences"].values():
            # Of all that is said, the time alone may differ.
            assert score["cost"].pop("frame_ms") > 0
            assert score["cost"]["cells"] > 0
    assert one["sequences"] == two["sequences"]
    assert list(two["sequences"]) == ["one", "two"]


def test_jhmdb_and_vip(davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "jhmdb", str(davis_tree), "--size", "frame", "--out", str(tmp_path / "pose"), *QUICK]) == 0
    pose = last_line(capsys.readouterr().out)
    assert set(pose["PCK"]) == {"0.1", "0.2", "0.3", "0.4", "0.5"}
    arguments = ["eval", "vip", str(davis_tree), "--size", "frame", "--classes", "3", "--sequences", "one"]
    assert run([*arguments, "--out", str(tmp_path / "parts"), *QUICK]) == 0
    parts = last_line(capsys.readouterr().out)
    assert 0 < parts["mIoU"] <= 1
    assert list(parts["sequences"]) == ["one"]


def test_masks(davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, one = str(davis_tree), str(davis_tree / "one" / "Annotations")
    assert run(["eval", "masks", truth, truth, "--json"]) == 0
    assert last_line(capsys.readouterr().out)["JF"] == 1.0
    assert run(["eval", "masks", one, one, "--year", "2016"]) == 0
    assert "J&F 100.0" in capsys.readouterr().out
    partial = tmp_path / "results"
    partial.mkdir()
    (partial / "one").symlink_to(davis_tree / "one" / "Annotations")
    assert run(["eval", "masks", str(partial), truth]) == 2
    assert "results/two" in capsys.readouterr().err
    assert run(["eval", "masks", str(partial), truth, "--partial"]) == 0
    assert "PARTIAL: 1 sequences" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["davis", "nowhere"], "nowhere"),
        (["davis", "{tree}", "--sequences", "three"], "three"),
        (["davis", "{tree}", "--encoder", "magic"], "magic"),
        (["davis", "{tree}", "--encoder", "colour", "--model", "x"], "--model"),
        (["davis", "{tree}", "--year", "2018"], "2018"),
        (["davis", "{tree}", "--encoder", "colour", "--size", "9"], "HEIGHTxWIDTH"),
        (["davis", "{tree}", "--encoder", "colour", "--preset", "magic"], "magic"),
        (["vip", "{tree}", "--ignore", "no"], "--ignore"),
        (["masks", "nowhere", "{tree}"], "nowhere"),
    ],
)
def test_errors_are_one_line(
    davis_tree: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", *(word.format(tree=davis_tree) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["davis", "jhmdb", "vip", "masks"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", command, "--help"]) == 0
    assert f"Example: crwedge eval {command}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_random_floor_is_made_once(
    davis_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    quick = ["random" if word == "colour" else word for word in QUICK]
    assert run(["eval", "davis", str(davis_tree), "--sequences", "one", "--out", str(tmp_path / "out"), *quick]) == 0
    result = last_line(capsys.readouterr().out)
    assert result["protocol"]["encoder"]["name"] == "random-r18-0"
    assert result["protocol"]["encoder"]["trained"] is False
    made = (tmp_path / "home" / "floors" / "random-r18-0" / "manifest.json").stat().st_mtime_ns
    assert random_bundle(0) == tmp_path / "home" / "floors" / "random-r18-0"
    assert (tmp_path / "home" / "floors" / "random-r18-0" / "manifest.json").stat().st_mtime_ns == made
