"""A small checkpoint and what is made of it, once for all tests of the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from crwedge.core.scene import render_scene
from crwedge.export.calibrate import calibrate
from crwedge.export.onnx import Recipe, build_onnx
from crwedge.model.checkpoint import save_encoder
from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.model.random import calibrate as gather_statistics

FRAMES = render_scene(3, 61, 90).frames


def weights_of(encoder: Encoder) -> dict[str, NDArray[Any]]:
    return {key: value.numpy() for key, value in encoder.state_dict().items()}


def recipe_of(config: EncoderConfig, **changes: Any) -> Recipe:
    return Recipe(config.architecture, config.padding, config.mean, config.std, **changes)


def run_onnx(data: bytes, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frames": frames})[0])


def small_encoder(config: EncoderConfig | None = None) -> Encoder:
    """Random weights whose BatchNorm knows the frames of these tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        encoder = Encoder(config)
    gather_statistics(encoder, [torch.from_numpy(FRAMES)])
    return encoder.eval()


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return small_encoder()


@pytest.fixture(scope="session")
def checkpoint(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "encoder.safetensors"
    save_encoder(path, encoder, name="tiny", weights_from="a test", trained=False)
    return path


@pytest.fixture(scope="session")
def ranges(encoder: Encoder) -> dict[str, float]:
    return dict(calibrate(build_onnx(weights_of(encoder), recipe_of(encoder.config)), FRAMES))
