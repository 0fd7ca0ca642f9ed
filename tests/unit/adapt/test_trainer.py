"""Which frames a window holds, where the delay lives, what is saved, and what the command line says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crwedge import cli
from crwedge.adapt.finetune import FineTuner, Outcome
from crwedge.adapt.lookahead import LookaheadSource
from crwedge.adapt.trainer import TestTimeTrainer
from crwedge.core.bundle import WEIGHTS, Bundle
from crwedge.core.errors import BundleError, SettingError, SourceError
from crwedge.core.images import grid_size
from crwedge.core.masks import write_mask
from crwedge.core.packages import install_command
from crwedge.core.scene import render_scene
from crwedge.core.settings import preset
from crwedge.model.checkpoint import load_encoder
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.tracker import Tracker
from tests.unit.adapt.frames import FrameList

SCENE = render_scene(frames=14, height=48, width=64, objects=1, seed=5)
PROTOCOL = preset("crw").with_changes(context_length=2)
TINY: dict[str, Any] = {"synchronous": True, "updates": 1, "size": 32, "clips": 1, "device": "cpu", "tolerance": 10.0}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("causal", {4: range(5), 8: range(4, 9), 12: range(8, 13)}),
        ("lookahead", {0: range(3), 4: range(2, 7), 8: range(6, 11), 12: range(10, 14)}),
    ],
)
def test_windows(monkeypatch: pytest.MonkeyPatch, mode: str, expected: dict[int, range]) -> None:
    windows = {}

    def run(self: FineTuner, frames: list[Any], index: int) -> Outcome:
        windows[index] = [
            next(n for n, f in enumerate(SCENE.frames) if f is frame or (f == frame).all()) for frame in frames
        ]
        return Outcome(0, 0.0, 0.0, 0.0, 0.0, "only looked")

    monkeypatch.setattr(FineTuner, "run", run)
    trainer = TestTimeTrainer(mode=mode, m=2, every=4, rollbacks=100, **TINY)
    source = FrameList(list(SCENE.frames))
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        indices = [tracker.step(f, SCENE.masks[0] if f.index == 0 else None).index for f in trainer.ahead(source)]
    assert indices == list(range(14))
    assert windows == {index: list(places) for index, places in expected.items()}
    assert trainer.stats.undone == len(expected)


def test_after_r_windows_undone_training_ends(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    bad = Outcome(1, 0.0, float("nan"), 1.0, float("nan"), "the loss is not finite")
    monkeypatch.setattr(FineTuner, "run", lambda self, frames, index: bad)
    trainer = TestTimeTrainer(every=2, rollbacks=2, **TINY)
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        for index, frame in enumerate(SCENE.frames):
            tracker.step(frame, SCENE.masks[0] if index == 0 else None)
    assert trainer.stats.undone == 2
    assert "2 windows had to be undone" in trainer.stats.stopped
    assert "tracking goes on" in said[-1]
    json.dumps(trainer.stats.to_dict(), allow_nan=False)


def test_lookahead_gives_all_frames_late_and_errors_last() -> None:
    seen: list[int] = []
    source = FrameList(list(SCENE.frames[:5]), SourceError("the camera is gone"))
    late = LookaheadSource(source, 2, lambda frame, index: seen.append(index))
    given = []
    with pytest.raises(SourceError, match="gone"), late:
        for frame in late:
            given.append((frame.index, max(seen)))
    assert given == [(0, 2), (1, 3), (2, 4), (3, 4), (4, 4)]
    assert source.closed


def test_lookahead_without_its_source_is_refused() -> None:
    trainer = TestTimeTrainer(mode="lookahead", **TINY)
    with (
        Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker,
        pytest.raises(SettingError, match=r"trainer\.ahead"),
    ):
        tracker.step(SCENE.frames[0], SCENE.masks[0])


def test_the_context_is_encoded_again_on_demand() -> None:
    torch.set_num_threads(1)
    features = {}
    for rule in ("recompute", "keep"):
        trainer = TestTimeTrainer(every=3, context=rule, **{**TINY, "learning_rate": 1e-2})
        with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
            for index, frame in enumerate(SCENE.frames[:4]):
                tracker.step(frame, SCENE.masks[0] if index == 0 else None)
            assert trainer.stats.swaps == 1
            features[rule] = (
                tracker.backend.state().tensors["features"][0].reshape(*grid_size(*SCENE.frames[0].shape[:2]), -1)
            )
            now = tracker.engine.run(SCENE.frames[0]).transpose(1, 2, 0)
        assert np.allclose(features[rule], now, atol=1e-6) == (rule == "recompute")
    assert not np.allclose(features["keep"], features["recompute"], atol=1e-3)


def test_the_weights_are_those_of_the_engine(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    trainer = TestTimeTrainer(every=3, **TINY)
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        for index, frame in enumerate(SCENE.frames[:4]):
            tracker.step(frame, SCENE.masks[0] if index == 0 else None)
        last = tracker.engine.run(SCENE.frames[0])
    (tmp_path / WEIGHTS).write_bytes(trainer.weights())
    encoder, info = load_encoder(tmp_path / WEIGHTS)
    assert "test-time training, 1 updates" in info.weights_from
    assert info.trained
    assert np.abs(encoder.features(torch.from_numpy(SCENE.frames[0])[None])[0].numpy() - last).max() < 1e-5


def test_a_window_holds_one_size() -> None:
    trainer = TestTimeTrainer(**TINY)
    for index in range(3):
        trainer.see(SCENE.frames[index], index)
    trainer.see(np.zeros((30, 40, 3), np.uint8), 3)
    assert [frame.shape for frame in trainer._window(3)] == [(30, 40, 3)]


def test_nothing_learnt_is_nothing_saved(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no window was learnt from"):
        TestTimeTrainer(**TINY).save(tmp_path / "adapted")


def test_without_torch_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mask(tmp_path / "mask.png", SCENE.masks[0])
    monkeypatch.setitem(sys.modules, "torch", None)
    code = cli.run(["track", str(tmp_path), "--mask", str(tmp_path / "mask.png"), "--ttt", "causal"])
    assert code == 2
    assert capsys.readouterr().err == (
        f"crwedge: test-time training needs torch, which is not installed: {install_command('train', 'export')}\n"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--ttt", "sideways"], "must be one of 'causal', 'lookahead'"),
        (["--set", "ttt-budget=50%"], "add --ttt causal or --ttt lookahead"),
        (["--set", "save-adapted=x"], "add --ttt causal or --ttt lookahead"),
        (["--ttt", "causal", "--set", "ttt-budget=lots"], "neither milliseconds"),
        (["--ttt", "causal", "--set", "ttt-speed=1"], "no setting 'ttt-speed'"),
        (["--ttt", "causal", "--set", "save-adapted=."], "exists and is not a bundle"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    write_mask(tmp_path / "mask.png", SCENE.masks[0])
    assert cli.run(["track", str(tmp_path), "--mask", str(tmp_path / "mask.png"), *options]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_track_with_test_time_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    torch.set_num_threads(1)
    for index, frame in enumerate(SCENE.frames[:5]):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    mask = tmp_path / "masks" / "mask.png"
    mask.parent.mkdir()
    write_mask(mask, SCENE.masks[0])
    words = ["synchronous=true", "updates=1", "size=32", "clips=1", "every=3", "m=2", "tolerance=10"]
    options = [word for text in words for word in ("--set", f"ttt-{text}")]
    common = [
        "track",
        str(tmp_path),
        "--mask",
        str(mask),
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--set",
        "threads=1",
    ]
    assert cli.run([*common, "--ttt", "lookahead", "--set", f"save-adapted={tmp_path / 'adapted'}", *options]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["tracked"] == 5
    assert result["ttt"]["windows"] == 2
    assert result["ttt"]["settings"]["mode"] == "lookahead"
    assert result["ttt"]["saved"] == str(tmp_path / "adapted")
    again = TestTimeTrainer(every=100, **TINY)
    with Tracker.open(Bundle.open(tmp_path / "adapted"), "cpu", PROTOCOL, adapter=again, workers=1) as tracker:
        tracker.step(SCENE.frames[0], SCENE.masks[0])
    assert len(list((tmp_path / "out").glob("*.png"))) == 5
