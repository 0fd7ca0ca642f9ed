"""Tiny clips, written with PyAV, and settings small enough for tests."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from crwedge.train.config import TrainConfig
from tests.unit.conftest import write_video

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(before)


def write_counting_video(
    path: Path, *, frames: int = 12, rate: int = 8, size: tuple[int, int] = (48, 64), times: list[int] | None = None
) -> Path:
    """A video whose frame number can be read from its grey: frame k has the value 16 * k + 8 (mod 256) and texture."""
    texture = np.random.default_rng(0).integers(-6, 7, (*size, 3))
    grey = (16 * np.arange(frames) + 8) % 256
    images = np.clip(grey[:, None, None, None] + texture, 0, 255).astype(np.uint8)
    return write_video(path, images, fps=rate, times=times, gop=4)


def write_sound(path: Path) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with three videos: landscape, portrait, odd sizes."""
    folder = tmp_path / "clips"
    write_counting_video(folder / "a.mp4")
    write_counting_video(folder / "b.mp4", size=(64, 48), frames=16)
    write_counting_video(folder / "c.mkv", size=(50, 54))
    return folder


def small(**changes: Any) -> TrainConfig:
    """Quick settings: views of 32 pixels, res3, no head, everything in this process."""
    values: dict[str, Any] = {
        "nodes": "map",
        "mode": "own",
        "stage": "res3",
        "head": 0,
        "size": 32,
        "short_side": 48,
        "scale": (0.5, 1.0),
        "clip_length": 2,
        "batch": 2,
        "workers": 0,
        "steps": 4,
        "warmup": 1,
        "learning_rate": 1e-3,
        "log_every": 1,
        "save_every": 2,
        "probe_every": 0,
        "picture_every": 0,
        "calibrate": 1,
        "calibrate_side": 48,
    }
    return TrainConfig().with_changes(**{**values, **changes})


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
