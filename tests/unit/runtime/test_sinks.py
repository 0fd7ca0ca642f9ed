"""Sinks: what they write can be read again, also after the process dies."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import CrwedgeError, MissingExtraError, SinkError
from crwedge.core.joints import FrameJoints
from crwedge.core.rle import decode_rle
from crwedge.core.scene import Scene
from crwedge.runtime.sinks.draw import draw
from tests.unit.conftest import write_video


def label_map(scene: Scene, index: int) -> cw.LabelMap:
    soft = np.zeros((3, 8, 12), np.float32)
    return cw.LabelMap(scene.masks[index], index, (1, 2), soft, index / 10, scene.frames[index], time=1.8e9 + index)


def untimed(text: str) -> list[dict[str, Any]]:
    """Lines without the time of their writing."""
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in text.splitlines()]


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
    line = json.loads((tmp_path / "o.jsonl").read_text())
    assert line == {
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
        (tmp_path / "x.avi", "no output of the kind .avi"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "deep", "not a writable folder"),
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
    with pytest.raises(MissingExtraError, match=r"\[window\]"):
        cw.open_sink("window")
    monkeypatch.undo()
    pytest.importorskip("cv2")
    with pytest.raises(CrwedgeError, match="cannot open a window"):
        cw.open_sink("window").write(label_map(small_scene, 0))


def test_a_standard_output_that_is_full(small_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SinkError, match="No space left"):
            cw.open_sink("-").write(label_map(small_scene, 0))
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


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
    assert untimed(path.read_text()) == untimed(whole)


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


def own(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_masks_have_the_names_of_their_frames(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "m") as sink:
        for index, name in enumerate(("00005", "shot 10", "b")):
            sink.write(replace(label_map(small_scene, index), name=name))
    assert own(tmp_path / "m") == ["00005.png", "b.png", "shot 10.png"]


def test_overwriting_leaves_no_old_mask_and_nothing_is_lost_before_the_first_one(
    tmp_path: Path, small_scene: Scene
) -> None:
    folder = tmp_path / "m"
    with cw.open_sink(folder) as sink:
        for index in range(6):
            sink.write(replace(label_map(small_scene, index), name=None if index < 4 else f"named{index}"))
    with pytest.raises(SinkError, match="--overwrite"):
        cw.open_sink(folder, overwrite=False)
    (folder / "notes.txt").write_text("mine")
    with cw.open_sink(folder, overwrite=True) as sink:
        assert len(own(folder)) == 7
        for index in range(2):
            sink.write(label_map(small_scene, index))
    assert own(folder) == ["00000.png", "00001.png", "notes.txt"]
    # A run that goes on keeps what stands there.
    with cw.open_sink(folder, resume_at=2) as sink:
        sink.write(label_map(small_scene, 2))
    assert own(folder) == ["00000.png", "00001.png", "00002.png", "notes.txt"]


def test_pictures_of_somebody_else_are_never_taken_away(tmp_path: Path, small_scene: Scene) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(small_scene.frames[0]).save(folder / "00000.png")
    with pytest.raises(SinkError, match=r"00000\.png, which is not a mask"):
        cw.open_sink(folder, overwrite=True)
    with cw.open_source(folder) as source, pytest.raises(SinkError, match="folder of the source frames"):
        cw.open_sink(folder, overwrite=True, source=source)
    assert own(folder) == ["00000.png"]


@pytest.mark.parametrize("name", ["v1.2", "run.2024-11-14", "n:dir", "x.avi/", "12:30"])
def test_folders_with_dots_and_colons(tmp_path: Path, small_scene: Scene, name: str) -> None:
    with cw.open_sink(f"{tmp_path}/{name}") as sink:
        sink.write(label_map(small_scene, 0))
    assert own(tmp_path / name) == ["00000.png"]


@pytest.mark.parametrize("name", ["22:57:44.mp4", "100%d.mp4", "http:x.mp4", "concat:a.mp4", "b#c.mp4", "o [1].mp4"])
def test_overlays_with_odd_names(
    tmp_path: Path, small_scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with cw.open_sink(name) as sink:
        sink.write(label_map(small_scene, 0))
    assert own(tmp_path) == [name]
    with cw.open_source(name) as source:
        assert len(list(source)) == 1


def stamps(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


@pytest.mark.parametrize("step", [3600.0, 1.0, 1 / 1000])
def test_any_rate_is_shown_at_its_own_times(tmp_path: Path, small_scene: Scene, step: float) -> None:
    with cw.open_sink(tmp_path / "o.mp4", fps=1 / step, timed=True) as sink:
        for index in range(4):
            sink.write(replace(label_map(small_scene, index), pts=7 + step * index))
    assert stamps(tmp_path / "o.mp4") == pytest.approx([step * index for index in range(4)], abs=1e-4)


def test_stamps_that_begin_anew_go_on(tmp_path: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "o.mp4", fps=10, timed=True) as sink:
        for index, pts in enumerate((100.0, 100.1, 3.0, 3.1, 3.2, 3.3)):
            sink.write(replace(label_map(small_scene, index), pts=pts))
    found = stamps(tmp_path / "o.mp4")
    assert found[3:] == pytest.approx([0.2, 0.3, 0.4], abs=0.01)


def test_an_overlay_has_the_pixel_aspect_and_tells_its_colours(tmp_path: Path, small_scene: Scene) -> None:
    write_video(tmp_path / "wide.mp4", small_scene.frames, aspect=Fraction(16, 11))
    with cw.open_source(tmp_path / "wide.mp4") as source, cw.open_sink(tmp_path / "o.mp4", source=source) as sink:
        for index in range(3):
            sink.write(label_map(small_scene, index))
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 11)
        assert stream.codec_context.color_range == 1
        assert stream.codec_context.colorspace in (5, 6)


def test_lines_have_box_area_and_centre(tmp_path: Path, small_scene: Scene) -> None:
    ids = np.zeros((64, 96), np.uint8)
    ids[10:20, 30:50] = 1
    with cw.open_sink(tmp_path / "o.jsonl") as sink:
        sink.write(replace(label_map(small_scene, 0), ids=ids, time=0.5, name="a"))
    line = json.loads((tmp_path / "o.jsonl").read_text())
    assert line["boxes"] == {"1": [30, 10, 20, 10], "2": None}
    assert line["areas"] == {"1": 200, "2": 0}
    assert line["centres"] == {"1": [39.5, 14.5], "2": None}
    assert (line["time"], line["name"]) == ("1970-01-01T00:00:00.500+00:00", "a")


def test_objects_are_named_with_state_and_confidence(small_scene: Scene) -> None:
    plain = replace(label_map(small_scene, 0), ids=np.zeros((64, 96), np.uint8))
    assert (draw(small_scene.frames[0], plain) == small_scene.frames[0]).all()
    known = label_map(small_scene, 0)
    first = draw(small_scene.frames[0], known)
    for change in ({"states": {1: "lost"}}, {"confidence": {1: 0.5}}, {"states": {2: "recovering"}}):
        assert (draw(small_scene.frames[0], replace(known, **change)) != first).any()
    # An object that is nowhere is named in the corner.
    gone = replace(plain, states={2: "lost"})
    changed = (draw(small_scene.frames[0], gone) != small_scene.frames[0]).any(axis=2)
    assert changed[:30, :60].any()
    assert not changed[40:].any()


def test_names_are_drawn_for_objects_and_joints(small_scene: Scene) -> None:
    plain = label_map(small_scene, 0)
    named = replace(plain, names={1: "dog"})
    assert (draw(small_scene.frames[0], plain) != draw(small_scene.frames[0], named)).any()
    large = np.zeros((300, 400, 3), np.uint8)
    joints = [FrameJoints((name, "b"), np.array([[100.0, 150], [np.nan, np.nan]])) for name in ("left hand", "x")]
    first, second = (draw(large, replace(plain, joints=one)) for one in joints)
    changed = np.argwhere((first != second).any(axis=2))
    assert len(changed) > 50
    assert changed[:, 1].min() > 103
    one, other = (draw(small_scene.frames[0], replace(plain, joints=both)) for both in joints)
    np.testing.assert_array_equal(one, other)
