"""Sinks: what they write can be read again, also after the process dies."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import CrwedgeError, MissingExtraError, SinkError
from crwedge.core.joints import FrameJoints
from crwedge.core.masks import decode_rle
from crwedge.core.scene import Scene


def label_map(scene: Scene, index: int) -> cw.LabelMap:
    soft = np.zeros((3, 8, 12), np.float32)
    return cw.LabelMap(scene.masks[index], index, (1, 2), soft, index / 10, scene.frames[index], time=1.8e9 + index)


def test_png_folder(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "masks") as sink:
        assert not (tmp_path / "masks").exists()
        for index in range(3):
            sink.write(label_map(small_scene, index))
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    np.testing.assert_array_equal(cw.read_mask(tmp_path / "masks" / "00002.png"), small_scene.masks[2])


def test_json_lines(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "out.jsonl") as sink:
        for index in range(2):
            sink.write(label_map(small_scene, index))
            # Each line is there at once.
            assert len((tmp_path / "out.jsonl").read_text().splitlines()) == index + 1
    line = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])
    assert (line["index"], line["pts"], line["time"]) == (1, 0.1, "2027-01-15T08:00:01.000+00:00")
    for object_id in (1, 2):
        np.testing.assert_array_equal(decode_rle(line["objects"][str(object_id)]), small_scene.masks[1] == object_id)


def test_overlay_video(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "o.mp4", fps=12) as sink:
        for index in range(6):
            sink.write(label_map(small_scene, index))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(12)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 6
    inside = small_scene.masks[3] == 1
    assert np.abs(frames[3][inside].mean(0) - small_scene.frames[3][inside].mean(0)).max() > 15


def test_overlay_video_is_playable_after_a_kill(tmp_path: Path) -> None:
    # A real process that is killed without warning after 60 frames at 10 a second.
    code = f"""
import os, signal, numpy as np, crwedge as cw
sink = cw.open_sink({str(tmp_path / "o.mp4")!r}, fps=10)
for i in range(60):
    frame = np.full((64, 96, 3), i * 4, np.uint8)
    sink.write(cw.LabelMap(np.zeros((64, 96), np.uint8), i, (), np.zeros((1, 8, 12), np.float32), None, frame))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) >= 10


def test_odd_sizes_are_cut_to_even_ones(tmp_path: Path) -> None:
    with cw.open_sink(tmp_path / "o.mp4") as sink:
        frame = np.zeros((33, 47, 3), np.uint8)
        sink.write(cw.LabelMap(np.zeros((33, 47), np.uint8), 0, (), np.zeros((1, 5, 6), np.float32), None, frame))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (32, 46)


def test_joints_are_written_and_drawn(tmp_path: Path) -> None:
    frame = np.full((96, 128, 3), 90, np.uint8)
    xy = np.array([[40.0, 30.0], [np.nan, np.nan], [127.0, 95.0]])
    joints = FrameJoints(("hand", "foot", "nose"), xy, np.array([0.51239, 0.0, 1.0]))
    soft = np.zeros((4, 12, 16), np.float32)
    labels = cw.LabelMap(frame[..., 0] * 0, 0, (1, 2, 3), soft, 0.5, frame, states={1: "ok"}, joints=joints, time=0.25)
    with cw.open_sink(tmp_path / "o.jsonl") as lines, cw.open_sink(tmp_path / "o.mp4", fps=10) as video:
        lines.write(labels)
        video.write(labels)
    assert json.loads((tmp_path / "o.jsonl").read_text()) == {
        "index": 0,
        "pts": 0.5,
        "time": "1970-01-01T00:00:00.250+00:00",
        "joints": {
            "hand": {"x": 40.0, "y": 30.0, "confidence": 0.5124},
            "foot": None,
            "nose": {"x": 127.0, "y": 95.0, "confidence": 1.0},
        },
    }
    with av.open(str(tmp_path / "o.mp4")) as container:
        drawn = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    # Object 1 is dark red and object 3 olive, object 2 has no place; nothing else is touched.
    assert drawn[30, 40, 0] > drawn[30, 40, 2] + 60
    assert drawn[94, 126, 1] > drawn[94, 126, 2] + 40
    assert np.abs(drawn[60:, :100] - 90).max() < 8


def test_refusals(tmp_path: Path, small_scene: Scene) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "00000.png").touch()
    (tmp_path / "old.jsonl").touch()
    for target, word in (
        (tmp_path / "x.avi", "no output of kind .avi"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "deep", "not a folder"),
        (tmp_path / "old", "--overwrite"),
        (tmp_path / "old.jsonl", "--overwrite"),
        ("/proc/none/masks", "cannot write"),
    ):
        with pytest.raises(SinkError, match=word), cw.open_sink(target, overwrite=False) as sink:
            sink.write(label_map(small_scene, 0))


def test_window_without_opencv_or_screen_says_what_is_missing(
    small_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"crwedge\[window\]"):
        cw.open_sink("window")
    monkeypatch.undo()
    pytest.importorskip("cv2")
    with pytest.raises(CrwedgeError, match="cannot open a window"):
        cw.open_sink("window").write(label_map(small_scene, 0))


def test_json_lines_go_on_where_a_snapshot_stands(tmp_path: Path, small_scene: Scene) -> None:
    path = tmp_path / "o.jsonl"
    with cw.open_sink(path) as sink:
        for index in range(4):
            sink.write(label_map(small_scene, index))
    whole = path.read_text()
    # The last line was cut by a kill; the snapshot is older than that.
    path.write_text(whole[:-30])
    with cw.open_sink(path, overwrite=False, resume_at=2) as sink:
        for index in (2, 3):
            sink.write(label_map(small_scene, index))
    assert path.read_text() == whole


def test_a_video_is_not_gone_on_with_but_begun_anew(tmp_path: Path, small_scene: Scene) -> None:
    for number in range(3):
        with cw.open_sink(tmp_path / "o.mp4", resume_at=number) as sink:
            sink.write(label_map(small_scene, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o-1.mp4", "o-2.mp4", "o.mp4"]


def test_a_timed_video_is_as_long_as_what_was_filmed(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "o.mp4", fps=10, timed=True) as sink:
        for index, pts in enumerate((5.0, 5.1, 5.1, 4.0, 9.0)):
            sink.write(replace(label_map(small_scene, index), pts=pts))
    with av.open(str(tmp_path / "o.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert len(times) == 5
    assert times[-1] - times[0] == pytest.approx(4.0, abs=0.01)
    assert all(later > earlier for earlier, later in pairwise(times))


def test_frames_that_change_their_size_are_scaled_in_a_video(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "o.mp4") as sink:
        sink.write(label_map(small_scene, 0))
        large = np.zeros((96, 144, 3), np.uint8)
        sink.write(cw.LabelMap(large[..., 0], 1, (), np.zeros((1, 12, 18), np.float32), None, large))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [(f.height, f.width) for f in container.decode(video=0)] == [(64, 96)] * 2


def test_states_and_trust_are_in_the_lines(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "o.jsonl") as sink:
        sink.write(replace(label_map(small_scene, 1), states={1: "ok", 2: "lost"}, confidence={1: 0.9, 2: 0.1}))
    line = json.loads((tmp_path / "o.jsonl").read_text())
    assert line["states"] == {"1": "ok", "2": "lost"}
    assert line["confidence"] == {"1": 0.9, "2": 0.1}
