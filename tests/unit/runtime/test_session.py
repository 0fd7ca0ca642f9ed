"""Sessions: what a program can do with one, and what they refuse."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import MaskError, SettingError
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime import session as session_module
from crwedge.runtime.backends.engine import LockedEngine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.observer import Observer
from crwedge.runtime.ops.snapshot import SnapshotError, read_snapshot
from crwedge.runtime.session import Session
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.sessions import combine_results, run_sessions
from tests.streaming.parts import ListSource, threads_left

OPTIONS = SessionOptions(
    model=shipped_bundle(),
    engine="cpu",
    settings=cw.PropagationSettings(context_length=3, topk=5, radius=5),
    threads=1,
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(8, 48, 64)


@pytest.fixture
def frames(tmp_path: Path, scene: Scene) -> Path:
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index:05d}.png")
    return tmp_path / "frames"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Pauses(Observer):
    """Calls a function before some frame."""

    def __init__(self, index: int, call: Callable[[], object]) -> None:
        self._index, self._call = index, call

    def before(self, frame: cw.Frame) -> None:
        if frame.index == self._index:
            self._call()


def test_a_session_gives_what_the_tracker_gives(
    tmp_path: Path, frames: Path, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crwedge")
    session = Session(frames, scene.masks[0], [tmp_path / "m"], OPTIONS)
    result = session.run()
    expected = cw.propagate(frames, scene.masks[0], shipped_bundle(), OPTIONS.settings)
    for index, labels in enumerate(expected):
        np.testing.assert_array_equal(cw.read_mask(tmp_path / "m" / f"{index:05d}.png"), labels.ids)
    assert (result["frames_in"], result["tracked"], result["written"]) == (8, 8, 8)
    assert (session.name, session.length, session.stats.tracked) == (str(frames), 8, 8)
    assert "context memory" in caplog.text
    assert "8 in = 8 tracked + 0 dropped + 0 failed" in caplog.text
    assert threads_left() == []
    with pytest.raises(FrozenInstanceError):
        session.options.fps = 3.0  # type: ignore[misc]


def test_another_thread_corrects_removes_and_stops(tmp_path: Path, frames: Path, scene: Scene) -> None:
    told: list[str] = []
    first = np.where(scene.masks[0] == 1, 1, 0).astype(np.uint8)
    session = Session(frames, first, [tmp_path / "o.jsonl"], OPTIONS, on_event=lambda event, **_: told.append(event))
    futures: list[Future[int]] = []

    def change() -> None:
        worker = threading.Thread(
            target=lambda: futures.extend(
                (session.correct(scene.masks[2]), session.remove(1), session.remove(7), session.correct(first[:8]))
            )
        )
        worker.start()
        worker.join()

    session.run([Pauses(2, change), Pauses(6, session.stop)])
    added, removed, unknown, small = futures
    # The observers of the caller come after the session's own: the commands are carried out with the next frames.
    assert (added.result(0), removed.result(0)) == (3, 4)
    for future, words in ((unknown, "no object 7"), (small, "48x64")):
        with pytest.raises(MaskError, match=words):
            future.result(0)
    lines = lines_of(tmp_path / "o.jsonl")
    assert [sorted(line["objects"]) for line in lines] == [["1"]] * 3 + [["1", "2"]] + [["2"]] * 3
    assert told == ["control_done", "control_done", "control_refused", "control_refused"]
    with pytest.raises(CancelledError):
        session.remove(1).result(0)


def test_a_snapshot_belongs_to_its_source(
    tmp_path: Path, frames: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(OPTIONS, snapshot=tmp_path / "s")
    Session(frames, scene.masks[0], [], replace(kept, max_frames=3)).run()
    state = read_snapshot(tmp_path / "s")
    assert (state.index, state.facts["source"]) == (3, str(frames))
    resume = replace(kept, resume=True, max_frames=1)
    # The same folder by another name.
    monkeypatch.chdir(tmp_path)
    assert Session("frames", None, [], resume).run()["tracked"] == 1
    other = tmp_path / "other"
    frames.rename(other)
    with pytest.raises(SnapshotError, match=r"from .*/frames, not from .*/other"):
        Session(other, None, [], resume).run()
    assert Session(other, None, [], replace(resume, resume_any=True)).run()["tracked"] == 1
    assert read_snapshot(tmp_path / "s").facts["source"] == str(other)


def test_the_time_of_a_camera_goes_on_over_a_resume(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fake camera: its stamps begin at 0 with each run.
    monkeypatch.setattr(session_module, "open_source", lambda *_, **__: ListSource(4, live=True, size=(48, 64)))
    options = replace(OPTIONS, snapshot=tmp_path / "s", late="wait", confidence=False)
    Session("door", scene.masks[0], [tmp_path / "o.jsonl"], options).run()
    Session("door", None, [tmp_path / "o.jsonl"], replace(options, resume=True)).run()
    stamps = [line["pts"] for line in lines_of(tmp_path / "o.jsonl")]
    assert len(stamps) == 8
    assert all(isinstance(stamp, float) for stamp in stamps)
    assert np.diff(np.array(stamps, float)).min() > 0


def test_a_camera_without_a_screen_gives_lines(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "crwedge")
    monkeypatch.setattr(session_module, "open_source", lambda *_, **__: ListSource(2, live=True, size=(48, 64)))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    Session("door", scene.masks[0], options=replace(OPTIONS, late="wait")).run()
    assert "there is no screen" in caplog.text
    assert [json.loads(line)["index"] for line in capsys.readouterr().out.splitlines()] == [0, 1]


def test_what_a_session_refuses_at_once(tmp_path: Path, scene: Scene) -> None:
    for prompt, options, words in (
        (None, OPTIONS, "--mask"),
        (None, replace(OPTIONS, resume=True, snapshot=tmp_path / "s"), "no snapshot to resume from"),
        (scene.masks[0], replace(OPTIONS, resume=True), "--snapshot"),
        (scene.masks[0], replace(OPTIONS, control=tmp_path / "none" / "c"), "no folder"),
    ):
        with pytest.raises(SettingError, match=words):
            Session("clip.mp4", prompt, [], options)


def test_sessions_that_share_an_engine_give_what_each_gives_alone(tmp_path: Path, frames: Path, scene: Scene) -> None:
    def make(number: int, **more: object) -> Session:
        mask = np.where(scene.masks[0] == 1 + number, 1, 0).astype(np.uint8)
        return Session(frames, mask, [tmp_path / f"{len(more)}-{number}.jsonl"], OPTIONS, **more)  # type: ignore[arg-type]

    for number in range(2):
        make(number).run()
    engine = cw.open_engine(cw.Bundle.open(shipped_bundle()), "cpu", 1)
    shared = [make(number, engine=LockedEngine(engine)) for number in range(2)]
    results = run_sessions(shared, [[], []])
    # The engine belongs to whoever opened it.
    assert engine.run(scene.frames[0]).ndim == 3
    engine.close()
    assert combine_results(results)["tracked"] == 16
    for number in range(2):
        alone, together = (lines_of(tmp_path / f"{kind}-{number}.jsonl") for kind in (0, 1))
        for one, other in zip(alone, together, strict=True):
            assert one["objects"] == other["objects"]


def test_the_peak_of_memory_is_that_of_this_process() -> None:
    code = "from crwedge.runtime.ops.stats import peak_rss_mb; print(peak_rss_mb())"
    more = "import numpy as np; big = np.ones(300_000_000, np.uint8); del big; " + code
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    parent = "import numpy as np; big = np.ones(400_000_000, np.uint8); " + start
    own, grown, child = (
        float(subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True).stdout)
        for text in (code, more, parent)
    )
    assert own == pytest.approx(child, abs=50)
    assert grown > own + 200
    assert os.path.exists("/proc/self/status")


def test_propagate_takes_paths_arrays_lists_and_generators(frames: Path, scene: Scene) -> None:
    expected = [labels.ids for labels in cw.propagate(frames, scene.masks[0], shipped_bundle(), "crw")]
    for source in (str(frames), scene.frames, list(scene.frames), (frame for frame in scene.frames)):
        for labels, ids in zip(cw.propagate(source, scene.masks[0], shipped_bundle(), "crw"), expected, strict=True):
            np.testing.assert_array_equal(labels.ids, ids)
