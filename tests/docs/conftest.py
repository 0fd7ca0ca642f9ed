"""The files that the examples of the docs use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crwedge.core.masks import write_mask
from crwedge.core.scene import render_scene
from tests.unit.conftest import write_davis_tree, write_video


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: clip.mp4, init.png, joints.json, DAVIS; the user's own folders are below it."""
    scene = render_scene(14, 64, 96)
    write_video(tmp_path / "clip.mp4", scene.frames)
    write_mask(tmp_path / "init.png", scene.masks[0])
    (tmp_path / "joints.json").write_text(json.dumps({"hand": [40, 30], "elbow": [20, 25], "knee": None}))
    write_davis_tree(tmp_path / "DAVIS")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRWEDGE_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path
