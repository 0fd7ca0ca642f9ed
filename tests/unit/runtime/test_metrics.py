"""Metrics, health and events, asked for over real sockets."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import crwedge as cw
from crwedge.cli.explain import explanation
from crwedge.core.errors import SettingError, SinkError
from crwedge.runtime.events import EventLog
from crwedge.runtime.ops.metrics import StreamMetrics, serve_metrics
from crwedge.runtime.ops.stats import StreamStats
from tests.streaming.parts import ListSource, QuickTracker


class Watched:
    """A fake session."""

    name = 'front "door"'

    def __init__(self) -> None:
        self.stats = StreamStats()


def ask(where: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{where}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_health(tmp_path: Path) -> None:
    stream, events = StreamMetrics(Watched()), EventLog(tmp_path / "log")  # type: ignore[arg-type]
    stats = stream.session.stats
    with serve_metrics("0", [stream], events.counts) as where:
        assert where.startswith("127.0.0.1:")
        assert ask(where, "/healthz") == (503, "no frames\n")
        cw.run_stream(QuickTracker(), ListSource(7), stats=stats, observers=[stream])  # type: ignore[arg-type]
        soft, ids = np.zeros((2, 2, 2), np.float32), np.zeros((16, 16), np.uint8)
        assert stream.latest is not None
        assert stream.latest.index == 6
        stream.written(cw.LabelMap(ids, 6, (1,), soft, confidence={1: 0.25}, states={1: "recovering"}))
        events("source_lost", source="it")
        assert ask(where, "/healthz") == (200, "ok\n")
        stats.recent.__init__()  # type: ignore[misc]
        for seconds in (2.2, 2.1, 2.0):
            stats.recent.add(time.monotonic() - seconds)
        assert ask(where, "/healthz")[0] == 503
        assert 'crwedge_fps{source="front \\"door\\""} 0.0' in ask(where, "/metrics")[1]
        code, text = ask(where, "/metrics")
        assert code == 200
        lines = text.splitlines()
        for line in (
            'crwedge_frames_total{outcome="tracked",source="front \\"door\\""} 7.0',
            'crwedge_object_state{object="1",source="front \\"door\\""} 1.0',
            'crwedge_object_confidence{object="1",source="front \\"door\\""} 0.25',
            'crwedge_events_total{event="source_lost"} 1.0',
        ):
            assert line in lines
        assert ask(where, "/else")[0] == 404
        with pytest.raises(SettingError, match="another port"), serve_metrics(where, [], events.counts):
            pass
    events.close()
    with pytest.raises(SettingError, match="HOST:PORT"), serve_metrics("door", [], events.counts):
        pass


def test_a_log_that_is_rotated_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = EventLog(path)
    log("one", size=1)
    path.rename(tmp_path / "log.1")
    log("two")
    path.unlink()
    log("three")
    log.close()
    assert json.loads((tmp_path / "log.1").read_text())["event"] == "one"
    assert json.loads(path.read_text())["event"] == "three"
    assert log.counts == {"one": 1, "two": 1, "three": 1}
    full = EventLog("/dev/full")
    full("lost")
    assert full.counts == {"lost": 1, "log_lost": 1}
    full.close()
    with pytest.raises(SinkError, match="log"):
        EventLog(tmp_path / "none" / "log")


def test_explanation_names_the_slowest_stage() -> None:
    stats = StreamStats(tracked=2)
    for stage, value in (("decode", 2.0), ("wait", 900.0), ("propagate", 80.0), ("write", 5.0)):
        stats.stages_ms[stage].append(value)
    text = explanation("film", stats, fps=10)
    assert "context-length first" in text
    assert "holds 10 a second" in text
    assert len(text.splitlines()) == 11
    shares = {line.split()[0]: line.split()[-1] for line in text.splitlines()[2:8]}
    assert shares["wait"] == "waiting"
    assert shares["propagate"] == f"{100 * 80 / 87:.1f}%"


def test_waiting_for_a_camera_is_not_called_decoding() -> None:
    stats = StreamStats(tracked=2)
    for stage, value in (("camera", 500.0), ("propagate", 80.0), ("write", 5.0)):
        stats.stages_ms[stage].append(value)
    text = explanation("camera", stats)
    assert "the camera is the limit" in text
    assert "decod" not in text
    stats.dropped = 3
    assert "context-length first" in explanation("camera", stats)
