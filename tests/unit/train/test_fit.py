"""`crwedge.fit`: data, recipe and length in, events out; footage without labels scores the encoder on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import crwedge
from crwedge.core.errors import SettingError
from crwedge.core.scene import render_scene
from crwedge.train.config_file import read_config
from tests.unit.conftest import write_video
from tests.unit.train.conftest import small


def test_fit_takes_data_and_settings_and_reports_events(clips: Path, tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    fitted = crwedge.fit(
        clips, small(), tmp_path / "run", steps=2, on_event=lambda event, **facts: events.append((event, facts))
    )
    assert fitted.finished
    assert Path(fitted) == tmp_path / "run" / "encoder.safetensors"
    assert [facts["step"] for event, facts in events if event == "step"] == [1, 2]
    metrics = [facts for event, facts in events if event == "metrics"]
    assert metrics[-1]["loss"] == fitted.metrics["loss"]
    assert read_config(tmp_path / "run" / "config.toml").data.videos == (str(clips),)
    again = crwedge.fit(out=tmp_path / "run", resume=True, steps=3)
    assert again.steps == 3


def test_a_run_that_is_not_there_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds no run"):
        crwedge.fit(out=tmp_path, resume=True)


def test_footage_without_labels_is_scored_at_checkpoints_and_drawn(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    for seed in (1, 2):
        scene = render_scene(12, 96, 128, objects=2, seed=seed)
        write_video(tmp_path / "probe" / f"{seed}.mp4", scene.frames, fps=8)
    config = small(videos=str(clips), steps=4, save_every=2, probe=(str(tmp_path / "probe"),))
    with caplog.at_level("INFO", "crwedge"):
        fitted = crwedge.fit(None, config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scored = {line["step"]: line["probe/cycle"] for line in lines if "probe/cycle" in line}
    assert scored.keys() == {2, 4}
    assert all(0 < score < 1 for score in scored.values())
    assert fitted.metrics["probe/cycle"] == pytest.approx(scored[4], abs=1e-5)
    assert sum("score without labels" in message for message in caplog.messages) == 2
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000
