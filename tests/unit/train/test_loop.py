from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crwedge.core.errors import CheckpointError, SettingError
from crwedge.model.checkpoint import load_encoder, load_tensors
from crwedge.train.config import TrainConfig
from crwedge.train.config_file import dump_config, read_config
from crwedge.train.loop import DivergedError, train
from crwedge.train.objective import Objective
from crwedge.train.state import saved_steps
from tests.unit.train.conftest import small


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    model, _ = load_tensors(folder / f"step-{step:08d}.safetensors")
    moments, _ = load_tensors(folder / f"step-{step:08d}.optimiser.safetensors")
    return model | {f"optimiser.{key}": value for key, value in moments.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", ["map", "patches"])
def test_a_resumed_run_equals_one_that_never_stopped(kind: str, clips: Path, tmp_path: Path) -> None:
    extra = {} if kind == "patches" else {"warp": 0.5, "objects": 2, "motion_blur": 0.5}
    config = small(videos=str(clips), edge_dropout=0.2, colour=0.2, ema=0.9, **extra)
    if kind == "patches":
        config = config.with_changes(
            nodes="patches", mode="shared", size=48, patch_size=32, patch_stride=16, head=1, dim=16, stage="res4",
            edge_dropout=0.1,
        )  # fmt: skip
    whole = train(config, tmp_path / "whole")
    assert whole.finished
    assert whole.steps == 4
    part = tmp_path / "part"
    # What a run of four steps looks like that was killed after its second: nothing but its checkpoint remains.
    train(config, part)
    for path in part.glob("step-00000004*"):
        path.unlink()
    (part / "encoder.safetensors").unlink()
    train(read_config(part / "config.toml"), part, resume=True)
    assert same(weights(tmp_path / "whole", 4), weights(part, 4))
    a, b = (load_encoder(run)[0].state_dict() for run in (tmp_path / "whole", part))
    assert same(a, b)
    runs = [tmp_path / "whole", part]
    lines = [[json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in runs]
    assert lines[0] == lines[1] == [1, 2, 3, 4]


def test_seeds_make_runs_equal(clips: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(small(videos=str(clips), steps=2, seed=seed), tmp_path / name)
    assert same(weights(tmp_path / "a", 2), weights(tmp_path / "b", 2))
    assert not same(weights(tmp_path / "a", 2), weights(tmp_path / "c", 2))


def test_the_last_checkpoints_are_kept_and_explain_themselves(clips: Path, tmp_path: Path) -> None:
    config = small(videos=str(clips), steps=5, save_every=1)
    fitted = train(config, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [3, 4, 5]
    assert Path(fitted) == tmp_path / "run" / "encoder.safetensors"
    encoder, info = load_encoder(fitted.checkpoint)
    assert info.trained
    assert "5 steps" in info.weights_from
    assert encoder.config == config.encoder.exported
    assert read_config(tmp_path / "run" / "config.toml") == config


def test_pictures_probe_and_metrics(clips: Path, tmp_path: Path) -> None:
    fitted = train(small(videos=str(clips), steps=2, probe_every=1, picture_every=2, clip_length=3), tmp_path / "run")
    assert 0 <= fitted.metrics["probe/J"] <= 1
    assert {"loss", "return/1", "return/2", "return/3", "clips_per_second"} <= fitted.metrics.keys()
    assert (tmp_path / "run" / "picture-00000002.png").is_file()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_a_run_is_never_overwritten(clips: Path, tmp_path: Path) -> None:
    config = small(videos=str(clips), steps=1)
    train(config, tmp_path / "run")
    with pytest.raises(SettingError, match="--resume"):
        train(config, tmp_path / "run")
    with pytest.raises(CheckpointError, match="no checkpoint to resume"):
        train(config, tmp_path / "other", resume=True)
    other = config.with_changes(padding="reflect", stage="res4")
    with pytest.raises(CheckpointError, match="another architecture"):
        train(other, tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(clips: Path, tmp_path: Path) -> None:
    config = small(videos=str(clips))
    train(config, tmp_path / "run")
    before = weights(tmp_path / "run", 4)
    path = tmp_path / "run" / "step-00000004.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert train(config, tmp_path / "run", resume=True).steps == 4
    assert same(before, weights(tmp_path / "run", 4))


def test_a_loss_that_is_no_number_keeps_the_last_good_weights(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(videos=str(clips), save_every=100)
    good = train(config.with_changes(steps=2, schedule="constant"), tmp_path / "good")
    real, calls = Objective.__call__, [0]

    def broken(*arguments: Any) -> Any:
        calls[0] += 1
        result, nodes = real(*arguments)
        return (replace(result, loss=result.loss * float("nan")) if calls[0] == 3 else result), nodes

    monkeypatch.setattr(Objective, "__call__", broken)
    with pytest.raises(DivergedError, match="step 3") as caught:
        train(config.with_changes(schedule="constant"), tmp_path / "run")
    assert "\n" not in caught.value.args[0]
    assert good.steps == 2
    assert same(weights(tmp_path / "good", 2), weights(tmp_path / "run", 2))


def test_a_full_disk_while_saving_loses_nothing(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(videos=str(clips))
    real, saved = os.fsync, []

    def full(descriptor: int) -> None:
        saved.append(descriptor)
        if (tmp_path / "run" / "step-00000002.json").exists() and len(saved) > 12:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        train(config, tmp_path / "run")
    monkeypatch.setattr("os.fsync", real)
    assert saved_steps(tmp_path / "run") == [2]
    assert not list((tmp_path / "run").glob(".*.part"))
    assert train(config, tmp_path / "run", resume=True).finished


def test_a_signal_finishes_the_step_and_saves(clips: Path, tmp_path: Path) -> None:
    config = small(videos=str(clips), steps=10_000)

    def ask() -> None:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    fitted = train(config, tmp_path / "run")
    thread.join()
    assert not fitted.finished
    assert saved_steps(tmp_path / "run")[-1] == fitted.steps
    assert load_encoder(fitted.checkpoint)[1].trained == (fitted.steps > 0)


def test_a_time_limit_ends_the_run(clips: Path, tmp_path: Path) -> None:
    fitted = train(small(videos=str(clips), steps=100_000, minutes=0.03), tmp_path / "run")
    assert fitted.finished
    assert fitted.steps < 1000


def test_killed_at_any_moment_leaves_a_checkpoint_to_resume(clips: Path, tmp_path: Path) -> None:
    config = small(videos=str(clips), steps=10_000, save_every=1, threads=1)
    (tmp_path / "c.toml").write_text(dump_config(config))
    code = (
        "from crwedge.train.loop import train; from crwedge.train.config_file import read_config;"
        f"train(read_config({str(tmp_path / 'c.toml')!r}), {str(tmp_path / 'run')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 600  # only a bound; a busy machine is slow
        while not (saved_steps(tmp_path / "run") and saved_steps(tmp_path / "run")[-1] >= 2):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    last = saved_steps(tmp_path / "run")[-1]
    fitted = train(config.with_changes(steps=last + 1), tmp_path / "run", resume=True)
    assert fitted.steps in (last, last + 1)
    assert fitted.finished


def test_paper_variants_run(clips: Path, tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {"mode": "shared", "padding": "none", "size": 184, "short_side": 184, "batch": 1},
        {"mode": "shared", "map_crop": -1, "size": 192, "short_side": 192, "batch": 1},
        {"mode": "shared", "blur": 1.0, "size": 64},
        {"mode": "shared", "synthetic": "noise", "size": 64},
        {"head": 2, "dim": 8, "stage": "res4", "frame_rates": (float("inf"),)},
        {"clip_length": 1, "stills": 0.5, "precision": "bfloat16", "schedule": "plateau"},
    ]
    for index, variant in enumerate(variants):
        config: TrainConfig = small(**{"videos": str(clips), "steps": 1, **variant})
        assert train(config, tmp_path / str(index)).metrics["loss"] > 0
