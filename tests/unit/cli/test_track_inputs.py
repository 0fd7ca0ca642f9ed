"""`crwedge track` on what people have: their files, names, masks and folders of an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.cli import run
from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene, render_scene
from tests.unit.conftest import write_video

QUICK = ["--set", "context-length=2", "--set", "threads=1", "--set", "confidence=false"]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(8, 64, 96)


@pytest.fixture
def folder(tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clip.mp4, init.png and frames/; the current one."""
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRWEDGE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", scene.frames)
    write_mask(tmp_path / "init.png", scene.masks[0])
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(scene.frames, start=1):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def track(*arguments: str, mask: str = "init.png") -> int:
    return run(["track", *arguments, "--mask", mask, *QUICK])


def test_a_trimmed_film_ends_well(folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The edit list of a film that was cut without encoding it again hides frames that its header counts."""
    write_video(folder / "whole.mp4", scene.frames, gop=30)
    with av.open("whole.mp4") as read, av.open("cut.mp4", "w", options={"avoid_negative_ts": "disabled"}) as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.pts -= int(0.5 / packet.time_base)
                packet.dts -= int(0.5 / packet.time_base)
                packet.stream = stream
                write.mux(packet)
    write_mask(folder / "five.png", scene.masks[5])
    assert track("cut.mp4", "--out", "m", "--snapshot", "s", "--json", mask="five.png") == 0
    assert json.loads(capsys.readouterr().out)["tracked"] == 3
    assert len(names(folder / "m")) == 3
    assert (folder / "s").exists()


def test_a_film_with_repeat_frames_ends_well(folder: Path, scene: Scene) -> None:
    write_video(folder / "a.avi", scene.frames, times=[0, 1, 2, 5, 6, 7, 8, 9])
    assert track("a.avi", "--out", "m", "--out", "o.mp4") == 0
    assert len(names(folder / "m")) == 8
    with av.open("o.mp4") as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    assert shown == pytest.approx([0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9], abs=0.01)


def test_a_film_that_breaks_off_is_told(folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(folder / "a.mp4", np.concatenate([scene.frames] * 4), options={"movflags": "faststart"})
    whole = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(whole[: len(whole) // 2])
    assert track("a.mp4", "--out", "m") == 2
    assert "cut short" in capsys.readouterr().err
    assert 4 < len(names(folder / "m")) < 32


def test_the_start_says_what_the_mask_holds(folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    small = np.where(scene.masks[0] == 1, 1, 0).astype(np.uint8)
    small[2:4, 2:4] = 2
    write_mask(folder / "small.png", small)
    assert track("clip.mp4", "--out", "m", "--set", "max-frames=1", mask="small.png") == 0
    said = capsys.readouterr().err
    assert f"2 objects: 1 ({(small == 1).sum():,} pixels), 2 (4 pixels)" in said
    assert "too small for cells of 4x4 pixels: 2" in said


def test_an_antialiased_mask_is_one_object(folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    large = Image.fromarray((scene.masks[0] == 1).astype(np.uint8) * 255).resize((384, 256))
    large.resize((96, 64), Image.Resampling.LANCZOS).save("soft.png")
    assert track("clip.mp4", "--out", "o.jsonl", "--set", "max-frames=1", mask="soft.png") == 0
    assert list(lines(folder / "o.jsonl")[0]["objects"]) == ["1"]
    assert "soft edges" in capsys.readouterr().err


def test_a_painted_mask_has_its_colours_as_objects(folder: Path, scene: Scene) -> None:
    colours = np.array([[0, 0, 0], [250, 20, 20], [20, 20, 250]], np.uint8)
    Image.fromarray(colours[scene.masks[0]]).save("painted.png")
    assert track("clip.mp4", "--out", "m", "--set", "max-frames=1", mask="painted.png") == 0
    np.testing.assert_array_equal(cw.read_mask("m/00000.png") > 0, scene.masks[0] > 0)
    assert set(np.unique(cw.read_mask("m/00000.png"))) == {0, 1, 2}


def test_masks_of_a_folder_are_called_as_its_frames(folder: Path) -> None:
    assert track("frames", "--out", "m", "--out", "o.jsonl") == 0
    assert names(folder / "m") == [f"{number}.png" for number in range(1, 9)]
    assert [line["name"] for line in lines(folder / "o.jsonl")] == [str(number) for number in range(1, 9)]


def test_overwriting_leaves_nothing_of_a_longer_run(folder: Path) -> None:
    assert track("clip.mp4", "--out", "m") == 0
    assert track("clip.mp4", "--out", "m", "--set", "max-frames=3") == 2
    assert len(names(folder / "m")) == 8
    Image.fromarray(np.ones((9, 9), np.uint8)).save("wrong.png")
    assert track("clip.mp4", "--out", "m", "--overwrite", mask="wrong.png") == 2
    assert len(names(folder / "m")) == 8  # a run that fails at its first frame replaces nothing
    assert track("clip.mp4", "--out", "m", "--set", "max-frames=3", "--overwrite") == 0
    assert names(folder / "m") == ["00000.png", "00001.png", "00002.png"]


def test_the_frames_are_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in ("frames", "frames/", "./frames"):
        assert track("frames", "--out", out, "--overwrite") == 2
        assert "would replace the source" in capsys.readouterr().err
    assert track("clip.mp4", "--out", "clip.mp4", "--overwrite") == 2
    assert len(names(folder / "frames")) == 8


@pytest.mark.parametrize("out", ["v1.2", "run.2024-11-14", "n:dir", "22:57:44.mp4", "n:1.jsonl", "日本/о.mp4"])
def test_outputs_are_local_paths(folder: Path, out: str) -> None:
    assert track("clip.mp4", "--out", out, "--set", "max-frames=1") == 0
    assert (folder / out).exists()


@pytest.mark.parametrize("source", ["clip.mp4", "frames"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_mask_of_a_later_frame(folder: Path, scene: Scene, source: str, reverse: bool) -> None:
    write_mask(folder / "four.png", scene.masks[4])
    direction = ["--set", "reverse=true"] if reverse else []
    assert (
        track(
            source, "--set", "start=4", *direction, "--out", "m", "--out", "o.jsonl", "--out", "o.mp4", mask="four.png"
        )
        == 0
    )
    expected = list(range(4, -1, -1)) if reverse else list(range(4, 8))
    found = lines(folder / "o.jsonl")
    assert [line["frame"] for line in found] == expected
    first = 1 if source == "frames" else 0
    called = [str(first + n) if source == "frames" else f"{n:05d}" for n in expected]
    assert names(folder / "m") == sorted(f"{name}.png" for name in called)
    for number, name in zip(expected, called, strict=True):
        overlap = (cw.read_mask(f"m/{name}.png") > 0) & (scene.masks[number] > 0)
        assert overlap.sum() > 0.5 * (scene.masks[number] > 0).sum()
    with av.open("o.mp4") as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    assert len(shown) == len(expected)
    if source == "clip.mp4":
        assert np.diff(shown) == pytest.approx(0.1, abs=0.01)


def test_a_frame_beyond_the_end_and_a_snapshot_backwards_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track("clip.mp4", "--set", "start=8", "--out", "m") == 2
    assert "no frame 8; it has 8 frames" in capsys.readouterr().err
    assert track("clip.mp4", "--set", "reverse=true", "--snapshot", "s", "--resume", "--out", "m") == 2
    assert "--resume" in capsys.readouterr().err


def test_a_run_from_a_later_frame_goes_on(folder: Path) -> None:
    again = ["clip.mp4", "--set", "start=2", "--snapshot", "s", "--resume", "--out", "m", "--out", "o.jsonl"]
    assert track(*again, "--set", "max-frames=3") == 0
    assert track(*again) == 0
    assert [line["frame"] for line in lines(folder / "o.jsonl")] == [2, 3, 4, 5, 6, 7]
    assert names(folder / "m") == [f"{number:05d}.png" for number in range(2, 8)]


def test_damaged_packets_are_passed_over_and_counted(
    folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(folder / "d.mkv", scene.frames, codec="ffv1", gop=1)
    with av.open("d.mkv") as container:
        at, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][3]
    data = bytearray((folder / "d.mkv").read_bytes())
    data[at + 12 : at + size] = np.random.default_rng(0).bytes(size - 12)
    (folder / "d.mkv").write_bytes(bytes(data))
    assert track("d.mkv", "--out", "m") == 2
    assert "skip-damaged=true" in capsys.readouterr().err
    assert track("d.mkv", "--out", "m2", "--set", "skip-damaged=true", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["tracked"], result["damaged_packets"]) == (7, 1)
