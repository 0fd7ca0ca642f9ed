from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.cli import run
from crwedge.core.film import render_film
from crwedge.cycle.footage import read_clips


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A folder of pictures, 24 a second: 84 frames of a rendered film."""
    folder = tmp_path / "film"
    folder.mkdir()
    for number, frame in enumerate(render_film(84, 64, 112, seed=1, rate=24.0).frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def test_check_scores_the_shipped_encoder_on_footage(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "shipped", str(footage), "--clips", "2", "--threads", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    (score,) = result["encoders"].values()
    assert result["footage"] == "2 clips of film"  # 84 frames are 14 at four a second
    assert 0 < score["mean"] <= 1
    assert score["regions"] >= 1


def test_clips_are_cut_evenly_and_short_videos_are_named(footage: Path, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "short").mkdir()
    Image.fromarray(np.zeros((64, 112, 3), np.uint8)).save(tmp_path / "short" / "0.png")
    clips = read_clips([footage, tmp_path / "short"], count=4, frames=5, rate=12.0, short_side=32)
    assert len(clips) == 2
    assert all(len(clip) == 5 and clip[0].shape == (32, 56, 3) for clip in clips)
    assert len(said) == 1
    assert "short" in said[0]


def test_no_footage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["check", "shipped", str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err.count("\n") <= 2
    for number, frame in enumerate(render_film(8, 64, 112, seed=1).frames):
        Image.fromarray(frame).save(tmp_path / "empty" / f"{number}.png")
    assert run(["check", "shipped", str(tmp_path / "empty")]) == 2
    assert "more or longer videos" in capsys.readouterr().err
