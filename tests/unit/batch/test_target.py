"""Videos without a mask, in which the objects of a target are searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crwedge.cli import run
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.scene import render_scene
from crwedge.runtime.target import Target, TargetFrame, write_target
from tests.unit.batch.conftest import lines
from tests.unit.conftest import write_video

SIZE = 160, 284


def batch(*arguments: object) -> int:
    return run(["batch", *map(str, arguments)])


@pytest.mark.usefixtures("in_process")
def test_a_target_starts_the_videos_without_a_mask(tmp_path: Path) -> None:
    scene, other = render_scene(4, *SIZE, seed=7), render_scene(3, *SIZE, seed=3)
    clips = tmp_path / "clips"
    write_video(clips / "there.mp4", scene.frames[1:])
    write_video(clips / "absent.mp4", other.frames)
    write_video(clips / "painted.mp4", other.frames)
    write_mask(clips / "painted.png", other.masks[0])
    mask = np.where(scene.masks[0] == 1, 1, 0).astype(np.uint8)
    write_target(tmp_path / "ball.target", Target((TargetFrame(scene.frames[0], mask),), {1: "ball"}))
    options = ["--out", tmp_path / "out", "--target", tmp_path / "ball.target"]
    assert batch(clips, *options) == 0
    found = lines(tmp_path / "out")
    assert {name: line["state"] for name, line in found.items()} == dict.fromkeys(found, "done")
    assert found["there"]["targets"] == {"1": {"name": "ball", "found_at": 0}}
    assert found["absent"]["targets"] == {"1": {"name": "ball", "found_at": None}}
    assert found["there"]["mask"] == str(tmp_path / "ball.target")
    assert "targets" not in found["painted"]
    assert [read_mask(tmp_path / "out" / name / "masks" / "00000.png").any() for name in ("there", "absent")] == [
        True,
        False,
    ]
    # What is done is not done again.
    before = {name: line["finished"] for name, line in found.items()}
    assert batch(clips, *options) == 0
    assert {name: line["finished"] for name, line in lines(tmp_path / "out").items()} == before


def test_a_target_is_told_from_other_files_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(tmp_path, "--target", tmp_path / "ball.png") == 2
    assert "*.target" in capsys.readouterr().err
