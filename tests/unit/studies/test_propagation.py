"""Studies of the propagation: the same scores as without a study, kept between runs, and one writer for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.eval import davis
from crwedge.eval.datasets import davis_clips
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.feature_cache import FeatureCache
from crwedge.eval.follow import Follower
from crwedge.eval.scorer import overall
from crwedge.studies.propagation import TOPICS, PropagationStudy
from crwedge.studies.score import score_study
from crwedge.studies.study import Topic
from crwedge.studies.writer import conclusion, write_study

SETTINGS = PropagationSettings(context_length=2, topk=5, radius=4)


def follower(cache: FeatureCache | None = None) -> Follower:
    return Follower(EncoderSpec("colour"), SETTINGS, None, 1, cache)


def test_a_study_of_two_points(davis_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    topic = Topic("topk", "Neighbours", "k", "nowhere", {"1": {"topk": 1}, "5": {"topk": 5}})
    study = PropagationStudy(topic, follower(FeatureCache(tmp_path / "cache")))
    clips = davis_clips(davis_tree)
    rows = score_study([study], clips, [0], tmp_path / "work")
    assert [row["point"] for row in rows] == ["1", "5"]
    for row in rows:
        point = replace(follower(FeatureCache(tmp_path / "cache")), settings=replace(SETTINGS, topk=int(row["point"])))
        alone = {clip.name: davis.score_clip(clip, point, "2017") for clip in clips}
        assert row["JF"] == overall(alone)["JF"]
    with caplog.at_level("INFO", "crwedge"):
        assert score_study([PropagationStudy(topic, follower())], clips, [0], tmp_path / "work") == rows
    assert "two: 2 points (done before)" in caplog.messages
    result = write_study(study, rows, {"encoder": "colour"}, tmp_path / "out", "Two clips.")
    assert result["conclusion"] == conclusion(study, rows)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "plot.png", "results.csv", "results.json",
    }  # fmt: skip


def test_every_study_changes_what_it_says() -> None:
    base = PropagationSettings()
    for topic in TOPICS.values():
        study = PropagationStudy(topic, replace(follower(), settings=base))
        settings = {label: study.settings(label) for label in study.points}
        assert len(set(settings.values())) == len(settings), topic.name
        assert base in settings.values(), f"{topic.name} holds the default"
