"""Annotations as outputs of a run, and what a killed run leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.cli import run
from crwedge.cli.track import _numbered_outputs
from crwedge.core.errors import SinkError, UserError
from crwedge.core.joints import FrameJoints
from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene
from crwedge.formats.open import open_annotation
from tests.unit.runtime.test_sinks import label_map

TARGETS = (
    "a.xml",
    "a.json",
    "a.zip?format=cvat",
    "a.zip?format=coco",
    "b?format=yolo",
    "c?format=davis",
    "d?format=youtube-vos",
)


def masks_of(path: Path) -> dict[int, np.ndarray]:
    with open_annotation(path) as annotation:
        return {frame.number: frame.ids for frame in annotation.frames()}


@pytest.mark.parametrize("target", TARGETS)
def test_label_maps_become_an_annotation(target: str, tmp_path: Path, small_scene: Scene) -> None:
    path = tmp_path / target.split("?")[0]
    with cw.open_sink(tmp_path / target) as sink:
        for index in range(4):
            sink.write(replace(label_map(small_scene, index), names={2: "ball"}, source_index=index + 3))
            assert not path.exists()
    found = masks_of(path)
    assert sorted(found) == [3, 4, 5, 6]
    np.testing.assert_array_equal(found[5], small_scene.masks[2])
    with open_annotation(path) as annotation:
        assert dict(annotation.names) == ({} if "davis" in target else {2: "ball"})
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nothing_is_written_when_nothing_came(tmp_path: Path) -> None:
    with cw.open_sink(tmp_path / "a.xml"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("a.zip", "does not say its format"),
        ("a.zip?format=avi", "unknown format 'avi'; choose one of cvat"),
        ("a.zip?kind=cvat", "must be format=NAME"),
        ("a.json?format=cvat", r"cannot hold the format cvat: give \*.zip or \*.xml"),
        ("folder?format=coco", "is not a file"),
    ],
)
def test_targets_that_are_refused(target: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        cw.open_sink(tmp_path / target)


def test_joints_are_refused(tmp_path: Path, small_scene: Scene) -> None:
    joints = FrameJoints(("a", "b"), np.zeros((2, 2)))
    with cw.open_sink(tmp_path / "a.xml") as sink, pytest.raises(SinkError, match="write joints to"):
        sink.write(replace(label_map(small_scene, 0), joints=joints))


def test_a_killed_run_is_finished_by_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = f"""
import os, signal, numpy as np, crwedge as cw
sink = cw.open_sink({str(tmp_path / "a.zip?format=cvat")!r})
for i in range(9):
    ids = np.zeros((32, 48), np.uint8); ids[i:i + 5, 4:9] = 1
    sink.write(cw.LabelMap(ids, i, (1,), np.zeros((2, 4, 6), np.float32)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    partial = tmp_path / "a.zip.partial.jsonl"
    with pytest.raises(SinkError, match="left of a run that was cut off: finish it with crwedge convert"):
        cw.open_sink(tmp_path / "a.zip?format=cvat", overwrite=False)
    # A kill may also cut the last line.
    partial.write_bytes(partial.read_bytes()[:-7])
    assert run(["convert", str(partial), str(tmp_path / "a.zip"), "--to", "cvat"]) == 0
    assert sorted(masks_of(tmp_path / "a.zip")) == list(range(8))


def test_resume_goes_on_with_what_is_left(tmp_path: Path, small_scene: Scene) -> None:
    # A sink that is not closed is what a killed process leaves.
    sink = cw.open_sink(tmp_path / "a.json")
    for index in range(4):
        sink.write(label_map(small_scene, index))
    with cw.open_sink(tmp_path / "a.json", resume_at=2) as sink:
        for index in range(2, 6):
            sink.write(label_map(small_scene, index))
    assert sorted(masks_of(tmp_path / "a.json")) == list(range(6))
    # Here the earlier file was finished: it stays, and a new one is begun.
    with cw.open_sink(tmp_path / "a.json", resume_at=5) as sink:
        sink.write(label_map(small_scene, 5))
    assert sorted(masks_of(tmp_path / "a.json")) == list(range(6))
    assert sorted(masks_of(tmp_path / "a-1.json")) == [5]


@pytest.fixture
def clip(tmp_path: Path, small_scene: Scene) -> Path:
    folder = tmp_path / "dogs" / "JPEGImages"
    folder.mkdir(parents=True)
    for number, frame in enumerate(small_scene.frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.png")
    return folder


def test_track_reads_and_writes_annotations(
    tmp_path: Path, clip: Path, small_scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mask of frame 2 with a name goes in as COCO; CVAT and JSON Lines with the names come out."""
    (tmp_path / "truth").mkdir()
    write_mask(tmp_path / "truth" / "00002.png", small_scene.masks[2])
    (tmp_path / "coco").mkdir()
    assert run(["convert", str(tmp_path / "truth"), str(tmp_path / "m.json"), "--names", "1=dog"]) == 0
    outputs = [str(tmp_path / "o.zip?format=cvat"), str(tmp_path / "o.jsonl")]
    command = ["track", str(clip), "--mask", str(tmp_path / "m.json"), "--out", outputs[0], "--out", outputs[1]]
    capsys.readouterr()
    assert run([*command, "--names", "2=cat"]) == 0
    said = capsys.readouterr().err
    assert "the mask begins with frame 2" in said
    assert "1 dog (" in said
    assert "2 cat (" in said
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [2, 3, 4, 5]
    assert all(line["names"] == {"1": "dog", "2": "cat"} for line in lines)
    with open_annotation(tmp_path / "o.zip") as annotation:
        assert (annotation.video.name, dict(annotation.names)) == ("dogs", {1: "dog", 2: "cat"})
        frames = list(annotation.frames())
    assert [frame.number for frame in frames] == [2, 3, 4, 5]
    np.testing.assert_array_equal(frames[0].ids, small_scene.masks[2])
    # The result as a prompt: frame 4 of it.
    again = ["track", str(clip), "--mask", str(tmp_path / "o.zip"), "--start", "4", "--out", str(tmp_path / "again")]
    assert run(again) == 0
    np.testing.assert_array_equal(cw.read_mask(tmp_path / "again" / "00004.png"), frames[2].ids)
    assert run([*again[:5], "1", *again[6:], "--overwrite"]) == 2
    assert "no object in frame 1: leave --start out" in capsys.readouterr().err


def test_names_survive_a_resume(tmp_path: Path, clip: Path, small_scene: Scene) -> None:
    write_mask(tmp_path / "m.png", small_scene.masks[0])
    state = ["--snapshot", str(tmp_path / "s"), "--resume", "--out", str(tmp_path / "o.jsonl")]
    command = ["track", str(clip), *state]
    assert run([*command, "--mask", str(tmp_path / "m.png"), "--names", "1=dog", "--max-frames", "3"]) == 0
    assert run(command) == 0
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["names"] for line in lines] == [{"1": "dog"}] * 6


def test_outputs_of_several_sources_have_a_number() -> None:
    given = ["o.mp4", "x.zip?format=cvat", "y?format=yolo", "a/b.json", "mqtt://h/t", "-", "m/"]
    numbered = ["o-1.mp4", "x-1.zip?format=cvat", "y/1?format=yolo", "a/b-1.json", "mqtt://h/t/1", "-", "m/1"]
    assert _numbered_outputs(given, 1) == numbered


def test_propagate_takes_an_annotation(tmp_path: Path, clip: Path, small_scene: Scene) -> None:
    with cw.open_sink(tmp_path / "m.xml") as sink:
        sink.write(replace(label_map(small_scene, 3), names={1: "dog"}, source_index=3))
    found = list(cw.propagate(clip, tmp_path / "m.xml"))
    assert [labels.source_index for labels in found] == [3, 4, 5]
    assert all(labels.names == {1: "dog"} for labels in found)
    np.testing.assert_array_equal(found[0].ids, small_scene.masks[3])
