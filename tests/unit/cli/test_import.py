from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from crwedge.cli import run
from crwedge.model.checkpoint import load_encoder
from crwedge.model.encoder import Encoder


def test_import_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = Encoder()
    torch.save(encoder.state_dict(), tmp_path / "r18.pth")
    assert run(["import", str(tmp_path / "r18.pth"), "--kind", "torchvision", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    again, info = load_encoder(report["checkpoint"])
    assert info.trained
    assert torch.equal(again.conv1.weight, encoder.conv1.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["none.pth", "--kind", "moco"], "there is no file"), (["x.pth", "--kind", "dino"], "must be one of")],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", *arguments]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1
