"""`crwedge track` from end to end, and every kind of bad input: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.cli import run
from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.unit.conftest import write_video


@pytest.fixture
def clip(tmp_path: Path, small_scene: Scene) -> Path:
    """A folder with clip.mp4, frames/ and init.png."""
    write_video(tmp_path / "clip.mp4", small_scene.frames)
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(small_scene.frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    write_mask(tmp_path / "init.png", small_scene.masks[0])
    return tmp_path


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRWEDGE_CONFIG", str(tmp_path / "config.toml"))


def test_all_outputs_and_json(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = [clip / "masks", clip / "o.mp4", clip / "o.jsonl"]
    arguments = [
        "track",
        str(clip / "clip.mp4"),
        "--mask",
        str(clip / "init.png"),
        "--set",
        "context-length=3",
        "--json",
    ]
    assert run([*arguments, *(part for out in outs for part in ("--out", str(out)))]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out.splitlines()[-1])
    assert len(shown.out.splitlines()) == 1
    assert (result["frames_in"], result["tracked"], result["dropped"], result["failed"]) == (6, 6, 0, 0)
    assert set(result["latency_ms"]) == {"p50", "p95", "p99"}
    assert result["protocol"]["context_length"] == 3
    assert result["outputs"] == [str(out) for out in outs]
    assert result["model"]["sha256"] == cw.Bundle.open(shipped_bundle()).sha256
    assert "context memory" in shown.err
    assert len(list((clip / "masks").iterdir())) == 6
    assert len((clip / "o.jsonl").read_text().splitlines()) == 6
    with av.open(str(clip / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == 6
    assert cw.read_mask(clip / "masks" / "00005.png").shape == (64, 96)


def test_default_output_is_a_folder_of_masks(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip)
    assert run(["track", "frames", "--mask", "init.png", "--set", "max-frames=2"]) == 0
    assert sorted(p.name for p in (clip / "masks").iterdir()) == ["0.png", "1.png"]
    # A second run does not replace results unless told.
    assert run(["track", "frames", "--mask", "init.png", "--set", "max-frames=2"]) == 2
    assert run(["track", "frames", "--mask", "init.png", "--set", "max-frames=2", "--overwrite"]) == 0


def test_a_mask_of_another_size_is_resized_when_asked(clip: Path, small_scene: Scene) -> None:
    write_mask(clip / "big.png", small_scene.masks[0].repeat(2, 0).repeat(2, 1))
    arguments = [
        "track",
        str(clip / "frames"),
        "--mask",
        str(clip / "big.png"),
        "--out",
        str(clip / "m"),
        "--set",
        "resize-mask=true",
    ]
    assert run([*arguments, "--set", "max-frames=1"]) == 0
    np.testing.assert_array_equal(cw.read_mask(clip / "m" / "0.png"), small_scene.masks[0])


def damaged(clip: Path, file: str, at: int = -100) -> Path:
    copy = clip / f"bundle-{file}"
    shutil.copytree(shipped_bundle(), copy)
    data = bytearray((copy / file).read_bytes())
    data[at] ^= 1
    (copy / file).write_bytes(bytes(data))
    return copy


def mask_of(clip: Path, values: np.ndarray) -> str:
    Image.fromarray(values).save(clip / "bad.png")
    return str(clip / "bad.png")


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def text_as_mp4(clip: Path) -> str:
    (clip / "text.mp4").write_text("no video\n" * 100)
    return str(clip / "text.mp4")


def folder_of_text(clip: Path) -> str:
    (clip / "texts").mkdir()
    (clip / "texts" / "a.txt").write_text("no picture")
    return str(clip / "texts")


def two_sizes(clip: Path) -> str:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(clip / "frames" / "0.png")
    return str(clip / "frames")


def joints_of(clip: Path, text: str) -> str:
    (clip / "joints.json").write_text(text)
    return str(clip / "joints.json")


Change = Callable[[Path], dict[str, str]]
BAD: dict[str, tuple[Change, str]] = {
    "mask of another size": (lambda c: {"--mask": mask_of(c, np.ones((10, 10), np.uint8))}, "resize-mask=true"),
    "photograph as mask": (lambda c: {"--mask": mask_of(c, photograph())}, "colours, blended"),
    "empty mask": (lambda c: {"--mask": mask_of(c, np.zeros((64, 96), np.uint8))}, "empty"),
    "too many ids": (lambda c: {"--mask": mask_of(c, np.full((64, 96), 999, np.uint16))}, "id 999"),
    "missing mask": (lambda c: {"--mask": str(c / "none.png")}, "no mask file"),
    "joints outside": (lambda c: {"--mask": "", "--init": joints_of(c, '{"a": [96, 3]}')}, "a at (96, 3) lies outside"),
    "no joint visible": (lambda c: {"--mask": "", "--init": joints_of(c, '{"a": null}')}, "no joint is visible"),
    "joints of a later frame": (
        lambda c: {"--mask": "", "--init": joints_of(c, '[{"frame": 6, "xy": [[1, 2]]}]')},
        "begin with frame 6",
    ),
    "wrong JSON": (lambda c: {"--mask": "", "--init": joints_of(c, '{"a": 3')}, "holds no joints"),
    "JSON of other things": (lambda c: {"--mask": "", "--init": joints_of(c, '{"a": "b"}')}, "in pixels from 0"),
    "missing joints": (lambda c: {"--mask": "", "--init": str(c / "none.json")}, "no joint file"),
    "a mask and joints": (lambda c: {"--init": joints_of(c, '{"a": [1, 2]}')}, "1 sources need as many"),
    "two starts": (
        lambda c: {"--mask": "", "--init": str(c / "init.png"), "--init ": str(c / "init.png")},
        "1 sources",
    ),
    "trust in joints": (
        lambda c: {"--mask": "", "--init": joints_of(c, '{"a": [1, 2]}'), "--set": "confidence=true"},
        "a confidence of their own",
    ),
    "missing source": (lambda c: {"source": str(c / "none.mp4")}, "there is no file"),
    "text named mp4": (lambda c: {"source": text_as_mp4(c)}, "cannot open"),
    "folder without images": (lambda c: {"source": folder_of_text(c)}, "holds no pictures"),
    "images of differing sizes": (lambda c: {"source": two_sizes(c)}, "0.png|mask is"),
    "unwritable output": (lambda c: {"--out": "/proc/none/masks"}, "cannot write"),
    "unknown kind of output": (lambda c: {"--out": str(c / "x.gif")}, "no output of the kind"),
    "changed onnx": (lambda c: {"--model": str(damaged(c, "encoder.onnx"))}, "changed or damaged"),
    "changed weights": (lambda c: {"--model": str(damaged(c, "encoder.safetensors"))}, "changed or damaged"),
    "changed manifest": (lambda c: {"--model": str(damaged(c, "manifest.json", 0))}, "JSON"),
    "no bundle": (lambda c: {"--model": str(c / "nothing")}, "no bundle"),
    "unknown engine": (lambda c: {"--engine": "abacus"}, "unknown engine"),
    "unknown preset": (lambda c: {"--preset": "davinci"}, "unknown preset"),
    "bad size": (lambda c: {"--set": "size=big"}, "HEIGHTxWIDTH"),
    "bad radius": (lambda c: {"--set": "radius=-1"}, "radius"),
    "no number": (lambda c: {"--set": "topk=many"}, "topk|many"),
    "unknown first frame": (lambda c: {"--set": "first-frame=maybe"}, "first_frame"),
    "unknown option": (lambda c: {"--nonsense": "1"}, "nonsense"),
    "unknown setting": (lambda c: {"--set": "topc=1"}, "did you mean topk"),
    "not key=value": (lambda c: {"--set": "topk"}, "is not key=value"),
    "bad value of a setting": (lambda c: {"--watchdog": "soon"}, "watchdog is a number"),
    "a setting without ttt": (lambda c: {"--set": "ttt-updates=3"}, "add --ttt causal"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(clip: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    change, words = BAD[case]
    values = {
        "source": str(clip / "frames"),
        "--mask": str(clip / "init.png"),
        "--out": str(clip / "out"),
        **change(clip),
    }
    before = sorted(clip.rglob("*"))
    source = values.pop("source")
    # An option without a value is left out; "flag" stands for one that takes none.
    pairs = [(name.strip(), value) for name, value in values.items() if value]
    code = run(["track", source, *(part for pair in pairs for part in pair if part != "flag")])
    shown = capsys.readouterr()
    *before_it, error = shown.err.splitlines()
    assert code == 2
    # What is said of the encoder and of the mask may stand before the error; the error is one line, and the last.
    assert error.startswith("crwedge: ")
    assert not any(line.startswith(("crwedge: ", "Traceback")) for line in before_it)
    assert len(before_it) <= 3
    assert any(word in error for word in words.split("|")), error
    assert sorted(clip.rglob("*")) == before


def test_what_a_truncated_video_holds_stays_written(
    clip: Path, small_scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = np.concatenate([small_scene.frames] * 4)
    whole = write_video(clip / "whole.mp4", frames, options={"movflags": "faststart"}).read_bytes()
    (clip / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    arguments = [
        "track",
        str(clip / "cut.mp4"),
        "--mask",
        str(clip / "init.png"),
        "--set",
        "context-length=2",
        "--set",
        "size=48x64",
    ]
    assert run([*arguments, "--out", str(clip / "m"), "--out", str(clip / "o.mp4")]) == 2
    assert "cut short" in capsys.readouterr().err
    masks = sorted((clip / "m").iterdir())
    assert 3 < len(masks) < 24
    assert all(cw.read_mask(path).shape == (64, 96) for path in masks)
    with av.open(str(clip / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(masks)


def untimed(path: Path) -> list[dict[str, Any]]:
    """Lines without the time of their writing."""
    return [{key: value for key, value in line.items() if key != "time"} for line in joint_lines(path)]


def joint_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_joints_are_followed_to_all_outputs(clip: Path, small_scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    centre = np.argwhere(small_scene.masks[0] == 1).mean(axis=0)[::-1]
    (clip / "j.json").write_text(json.dumps({"middle": centre.tolist(), "hidden": None}))
    outs = ["--out", str(clip / "o.jsonl"), "--out", str(clip / "o.mp4"), "--out", str(clip / "m")]
    assert (
        run(
            [
                "track",
                str(clip / "frames"),
                "--init",
                str(clip / "j.json"),
                "--set",
                "context-length=3",
                *outs,
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tracked"] == 6
    lines = joint_lines(clip / "o.jsonl")
    assert len(lines) == 6
    for line, mask in zip(lines, small_scene.masks, strict=True):
        assert set(line) == {"index", "pts", "time", "frame", "name", "joints"}
        assert line["joints"]["hidden"] is None
        middle = line["joints"]["middle"]
        truth = np.argwhere(mask == 1).mean(axis=0)[::-1]
        assert np.hypot(middle["x"] - truth[0], middle["y"] - truth[1]) < 10
        assert 0 < middle["confidence"] <= 1
    np.testing.assert_allclose([lines[0]["joints"]["middle"][k] for k in "xy"], centre, atol=0.01)
    assert set(np.unique(cw.read_mask(clip / "m" / "0.png"))) <= {0, 1}


def test_joints_start_where_they_are_labelled(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clip / "j.json").write_text('[{"frame": 5, "xy": [[9, 9]]}, {"frame": 3, "xy": [[40, 30]]}]')
    assert run(["track", str(clip / "clip.mp4"), "--init", str(clip / "j.json"), "--out", str(clip / "o.jsonl")]) == 0
    assert "begin with frame 3" in capsys.readouterr().err
    lines = joint_lines(clip / "o.jsonl")
    assert [(line["index"], line["frame"]) for line in lines] == [(0, 3), (1, 4), (2, 5)]
    assert lines[0]["joints"]["joint0"] == {"x": 40.0, "y": 30.0, "confidence": 1.0}


def test_joints_go_on_from_a_snapshot(clip: Path) -> None:
    (clip / "j.json").write_text('{"a": [40, 30]}')
    arguments = ["track", str(clip / "frames"), "--init", str(clip / "j.json")]
    assert run([*arguments, "--out", str(clip / "whole.jsonl")]) == 0
    parts = [*arguments, "--out", str(clip / "parts.jsonl"), "--snapshot", str(clip / "s.safetensors"), "--resume"]
    assert run([*parts, "--set", "max-frames=3"]) == 0
    assert run(parts) == 0
    parts_lines, whole_lines = joint_lines(clip / "parts.jsonl"), joint_lines(clip / "whole.jsonl")
    times = [line.pop("time") for line in parts_lines + whole_lines]
    assert parts_lines == whole_lines
    assert all(time.endswith("+00:00") for time in times)


def test_init_takes_masks_and_matlab_files_too(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    io = pytest.importorskip("scipy.io")
    arguments = ["track", str(clip / "frames"), "--set", "max-frames=2"]
    assert run([*arguments, "--init", str(clip / "init.png"), "--out", str(clip / "a")]) == 0
    assert run([*arguments, "--mask", str(clip / "init.png"), "--out", str(clip / "b")]) == 0
    assert (clip / "a" / "1.png").read_bytes() == (clip / "b" / "1.png").read_bytes()
    position = np.full((2, 15, 6), 31.0)
    position[0, 3] = 97.5
    io.savemat(clip / "joint_positions.mat", {"pos_img": position})
    capsys.readouterr()
    assert run([*arguments, "--init", str(clip / "joint_positions.mat"), "--out", str(clip / "o.jsonl")]) == 0
    # JHMDB guesses joints beyond the edge: they are named, and not followed.
    assert "not followed: right_shoulder" in capsys.readouterr().err
    joints = joint_lines(clip / "o.jsonl")[1]["joints"]
    assert len(joints) == 15
    assert joints["right_shoulder"] is None
    assert joints["neck"] is not None


def test_a_bundle_with_a_surprise_in_it_is_refused(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = clip / "b"
    shutil.copytree(shipped_bundle(), copy)
    (copy / "extra.bin").touch()
    assert run(["track", str(clip / "frames"), "--mask", str(clip / "init.png"), "--model", str(copy)]) == 2
    assert "not listed" in capsys.readouterr().err


def test_the_encoder_is_named(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from crwedge.core.bundle import Bundle

    trained = Bundle.open(shipped_bundle()).manifest.trained
    assert (
        run(
            [
                "track",
                str(clip / "frames"),
                "--mask",
                str(clip / "init.png"),
                "--out",
                str(clip / "m"),
                "--set",
                "max-frames=1",
            ]
        )
        == 0
    )
    said = capsys.readouterr().err
    assert ("not trained" in said) is not trained
    assert "shipped with crwedge" in said
