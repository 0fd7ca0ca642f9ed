"""Studies that train: each point and seed is trained, exported and scored once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crwedge.core.errors import SettingError
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.follow import Follower
from crwedge.studies import training
from crwedge.studies.run import NAMES, run_study
from crwedge.studies.training import TOPICS, TrainingStudy
from crwedge.train.config_file import read_config
from tests.unit.train.conftest import write_counting_video


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_each_point_and_seed_is_trained_once(davis_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and scoring are replaced; which runs are asked for, and the means over seeds, are real."""
    pytest.importorskip("matplotlib")
    runs: list[tuple[int, int, int]] = []

    def remember(self: TrainingStudy, point: str, seed: int) -> Any:
        config = self.config_of(point, seed)
        runs.append((config.data.clip_length, config.run.seed, config.data.batch))
        return tmp_path, 1.5 + seed

    monkeypatch.setattr(TrainingStudy, "_trained", remember)
    monkeypatch.setattr(training, "random_bundle", lambda seed: tmp_path)
    monkeypatch.setattr(training, "EncoderSpec", lambda kind, model, engine: EncoderSpec("colour"))
    arguments: dict[str, Any] = {"videos": [davis_tree], "settings": ["batch=2"], "size": "frame", "threads": 1}
    result = run_study(
        "clip-length", davis_tree / "one", seed=3, seeds=2, out=tmp_path / "out", work=tmp_path / "work", **arguments
    )
    assert runs == [(length, seed, 2) for length in (2, 4, 6, 10) for seed in (3, 4)]
    assert [row["point"] for row in result["rows"]] == ["untrained", "2", "4", "6", "10"]
    assert result["rows"][0]["loss"] is None
    assert result["rows"][1]["loss"] == 5.0
    assert result["protocol"]["seeds"] == [3, 4]
    assert "the 2 seeds of a point differ by up to 0.0" in result["conclusion"]
    assert "| J&F of the seeds |" in (tmp_path / "out" / "README.md").read_text()
    again = run_study("clip-length", davis_tree / "one", seed=3, seeds=2, work=tmp_path / "work", **arguments)
    assert again["rows"] == result["rows"]
    assert len(runs) == 8


@pytest.mark.slow
def test_a_point_is_trained_exported_and_scored(davis_tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_counting_video(tmp_path / "clips" / "a.mp4")
    tiny = ["nodes=map", "mode=own", "stage=res3", "head=0", "size=32", "short_side=48", "batch=1", "workers=0"]
    quiet = ["probe_every=0", "picture_every=0", "calibrate=0"]
    topic = TOPICS["dropout"]
    config = read_config(None, [*tiny, *quiet], videos=(str(tmp_path / "clips"),), steps=1)
    follower = Follower(EncoderSpec("colour", None, "cpu"), size=None, threads=1)
    study = TrainingStudy(topic, follower, config, tmp_path / "points")
    from crwedge.eval.datasets import davis_clips

    (clip,) = davis_clips(davis_tree / "one")
    score = study.score("0.2", clip, 5)
    assert 0 <= score.score.jf <= 1
    assert score.facts["loss"] > 0
    place = tmp_path / "points" / "0.2" / "seed-5"
    assert read_config(place / "run" / "config.toml").walk.edge_dropout == 0.2
    stamp = (place / "bundle" / "manifest.json").stat().st_mtime_ns
    assert study.score("0.2", clip, 5).score.jf == score.score.jf
    assert (place / "bundle" / "manifest.json").stat().st_mtime_ns == stamp


def test_points_of_a_study_differ_in_what_they_say() -> None:
    base = read_config("paper", videos=("x",))
    for topic in TOPICS.values():
        study = TrainingStudy(topic, Follower(EncoderSpec("colour")), base, Path("x"))
        configs = [study.config_of(label, 0) for label in topic.points]
        assert len({repr(config.changes()) for config in configs}) == len(configs), topic.name
        assert base in configs, f"{topic.name} holds the recipe itself"


def test_results_are_not_overwritten_and_names_are_known(davis_tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "results.json").write_text(json.dumps({}))
    with pytest.raises(SettingError, match="--overwrite"):
        run_study("topk", davis_tree, out=tmp_path)
    with pytest.raises(SettingError, match="unknown study"):
        run_study("magic", davis_tree)
    assert {"topk", "dropout", "ttt"} <= set(NAMES)
