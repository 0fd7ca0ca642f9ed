"""The export from end to end: what it writes, and that it writes nothing when the verdict is bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from crwedge.cli import run
from crwedge.core.bundle import ONNX, WEIGHTS, Bundle
from crwedge.core.errors import CheckpointError, MaskError, SettingError, SourceError
from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene
from crwedge.export import build
from crwedge.export.build import export_bundle
from crwedge.export.parity import ParityError
from crwedge.export.report import report
from crwedge.export.test_clips import for_calibration, recorded, rendered
from tests.unit.conftest import write_video

SIZE = (64, 96)
SHORT = rendered(SIZE, 4)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_exporting_twice_gives_the_same_bytes(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    bundles = [
        export_bundle(checkpoint, tmp_path / str(i), precision=precision, size=SIZE, verify=SHORT)  # type: ignore[arg-type]
        for i in range(2)
    ]
    for name in (ONNX, WEIGHTS, "manifest.json"):
        assert (bundles[0].path / name).read_bytes() == (bundles[1].path / name).read_bytes(), name
    manifest = bundles[0].manifest
    assert manifest.precision == precision
    assert manifest.parity["passed"] is True
    assert manifest.parity["steps"] == 3
    assert ("to_signed_activations" in manifest.parity) == bool(manifest.calibration) == (precision == "int8")
    model = onnx.load_from_string(bundles[0].read(ONNX))
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["precision"] == precision
    assert facts["name"] == "tiny"
    costs = report(bundles[0], runs=1)
    assert costs.size == SIZE
    assert costs.nodes == len(model.graph.node)
    assert costs.gflop == pytest.approx(43.2 * 64 * 96 / (480 * 854), rel=0.05)
    assert len(costs.milliseconds) >= 1
    assert costs.lines()[0].endswith("GFLOP a frame of 64x96")


@pytest.mark.parametrize("damage", ["noise", "nan", "shape"])
def test_a_bad_verdict_writes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, said: list[str]
) -> None:
    honest = build.onnx_features

    def dishonest(*args: object) -> list[np.ndarray]:
        features = honest(*args)  # type: ignore[arg-type]
        if damage == "shape":
            return [f[:, 1:] for f in features]
        bad = np.nan if damage == "nan" else 0.05
        return [(f + bad * np.random.default_rng(0).normal(size=f.shape)).astype(np.float32) for f in features]

    monkeypatch.setattr(build, "onnx_features", dishonest)
    with pytest.raises(ParityError, match="nothing was written") as caught:
        export_bundle(checkpoint, tmp_path / "out", size=SIZE, verify=SHORT)
    assert caught.value.exit_code == 1
    assert not caught.value.parity.passed
    assert any("FAILED" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_a_verdict(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    code = run(
        ["export", str(checkpoint), "--fp16", "--size", "64x96", "--engine", "onnx", "--out", str(out), "--json"]
    )
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is True
    assert result["precision"] == "float16"
    assert result["files"] == Bundle.open(out).manifest.files
    assert set(result["parity"]["scores"]["candidate"]) == {"J", "F"}
    assert result["report"]["gflop"] > 0


def test_the_command_exits_with_one_beyond_the_tolerances(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "onnx_features", lambda *args: [np.zeros(1)])
    monkeypatch.setattr(build, "torch_features", lambda *args: [])
    code = run(["export", str(checkpoint), "--size", "64x96", "--out", str(tmp_path / "b"), "--json"])
    captured = capsys.readouterr()
    assert code == 1
    assert json.loads(captured.out)["passed"] is False
    assert captured.err.splitlines()[-1].startswith("crwedge: the export differs")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--fp16", "--int8"],
        ["--verify", "clip.mp4"],
        ["--mask", "a.png"],
        ["--truth", "masks"],
        ["--calibrate", "clip.mp4"],
        ["--engine", "openvino"],
        ["--profile", "1x1,2x2"],
        ["--size", "big"],
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_own_clip_is_verified_on(checkpoint: Path, small_scene: Scene, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", small_scene.frames)
    truth = tmp_path / "truth"
    truth.mkdir()
    for number, mask in enumerate(small_scene.masks):
        write_mask(truth / f"{number:05d}.png", mask)
    footage = recorded(str(clip), truth / "00000.png", truth)
    assert len(footage.frames) == 6
    bundle = export_bundle(
        checkpoint, tmp_path / "b", precision="int8", calibrate_on=str(clip), verify=footage, size=SIZE
    )
    assert bundle.manifest.calibration == "6 frames of clip.mp4"
    assert "clip.mp4, 6 frames of 64x96" in bundle.manifest.parity["frames"]
    assert set(bundle.manifest.parity["scores"]) == {"reference", "candidate"}
    half = recorded(str(clip), truth / "00000.png", size=(32, 48))
    assert half.frames[0].shape == (32, 48, 3)
    assert half.mask is not None
    assert half.mask.shape == (32, 48)
    (truth / "00005.png").unlink()
    with pytest.raises(MaskError, match="5 masks for 6 frames"):
        recorded(str(clip), truth / "00000.png", truth)


def test_calibration_covers_a_long_video_evenly(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(120, dtype=np.uint8)[:, None, None, None] * 2, 16 * 16 * 3, axis=1).reshape(
        120, 16, 16, 3
    )
    clip = write_video(tmp_path / "clip.mp4", ramp)
    levels = [int(frame.mean()) for frame in for_calibration(str(clip))]
    assert 24 <= len(levels) < 48
    assert levels[-1] - levels[0] > 180


def test_a_missing_checkpoint_or_clip_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        export_bundle(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="holds no"):
        export_bundle(tmp_path)
    with pytest.raises(SourceError):
        recorded(str(tmp_path / "none.mp4"), tmp_path / "mask.png")
    with pytest.raises(SettingError, match="unknown precision"):
        export_bundle(precision="int4")  # type: ignore[arg-type]
