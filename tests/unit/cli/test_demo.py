"""`crwedge demo`, `export` and `doctor` as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli
from PIL import Image

import crwedge as cw
from crwedge.cli import run
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))


def test_demo_draws_and_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", str(tmp_path / "d"), "--frames", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["J"]["mean"] > 0.7
    with Image.open(tmp_path / "d" / "sheet.png") as sheet:
        assert sheet.size[1] > 3 * 180
    assert len(list((tmp_path / "d" / "masks").iterdir())) == 5
    assert (tmp_path / "d" / "overlay.mp4").stat().st_size > 1000


def test_export_without_a_checkpoint_exports_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--out", str(tmp_path / "b"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["passed"] is True
    # The shipped encoder's label-free score travels in its manifest, and is what this machine measures.
    shipped = cw.Bundle.open(shipped_bundle()).manifest.cycle
    assert result["cycle"] == cw.Bundle.open(tmp_path / "b").manifest.cycle
    assert result["cycle"]["score"] == pytest.approx(shipped["score"], abs=0.5)
    assert result["cycle"]["protocol"] == shipped["protocol"]
    assert set(result["files"]) == {"encoder.onnx", "encoder.safetensors"}
    assert cw.Bundle.open(tmp_path / "b").manifest.parity["passed"] is True


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert report["engines"]["cpu"].startswith("onnxruntime")
    assert set(report["extras"]) == {"", *project["optional-dependencies"]}
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for extra in project["optional-dependencies"]:
        assert f"\n{extra} " in out
    last = out.splitlines()[-2:]
    assert any(line.startswith("this machine can: track on the CPU") for line in last)
