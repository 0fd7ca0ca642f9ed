"""Whitening: the variances it promises, and the same features from the graph and after an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crwedge.core.errors import SettingError
from crwedge.core.scene import render_scene
from crwedge.export.onnx import build_onnx
from crwedge.model.checkpoint import load_encoder, save_encoder
from crwedge.model.encoder import Encoder
from crwedge.model.random import random_encoder
from crwedge.model.whiten import whitened
from tests.unit.export.conftest import recipe_of, run_onnx, weights_of

FRAMES = render_scene(4, 120, 160).frames


def pictures(encoder: Encoder) -> torch.Tensor:
    return encoder.normalise(torch.from_numpy(FRAMES))


def cells(encoder: Encoder) -> np.ndarray:
    """Unit features of the convolutions, (number of cells, C) in float64."""
    with torch.no_grad():
        x = torch.nn.functional.normalize(encoder(pictures(encoder), stage="res3"), dim=1)
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double().numpy()


@pytest.fixture(scope="module")
def plain() -> Encoder:
    return random_encoder(1)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_features_are_those_of_a_direct_computation(plain: Encoder, exponent: float) -> None:
    found = whitened(plain, [pictures(plain)], exponent)
    x = cells(plain)
    variance, directions = np.linalg.eigh(np.cov(x.T, bias=True))
    variance = np.maximum(variance, 0) + 1e-3 * variance.max()
    y = ((x - x.mean(axis=0)) @ directions) * variance ** (-exponent / 2) @ directions.T
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    got = found.features(torch.from_numpy(FRAMES)).permute(0, 2, 3, 1).reshape(y.shape).numpy()
    np.testing.assert_allclose(got, y, atol=2e-5)


def test_the_convolutions_stay_as_they_are(plain: Encoder) -> None:
    np.testing.assert_array_equal(cells(whitened(plain, [pictures(plain)], 0.5)), cells(plain))


def test_whitening_again_starts_from_the_convolutions(plain: Encoder) -> None:
    once = whitened(plain, [pictures(plain)], 0.5)
    again = whitened(once, [pictures(plain)], 0.5)
    assert all(torch.equal(a, b) for a, b in zip(once.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize("stored_as", [np.float32, np.float16])
def test_the_graph_and_the_checkpoint_keep_it(plain: Encoder, tmp_path: Path, stored_as: type) -> None:
    encoder = whitened(plain, [pictures(plain)], 0.5)
    save_encoder(tmp_path / "e.safetensors", encoder, name="e", weights_from="a test", trained=False)
    loaded, _ = load_encoder(tmp_path / "e.safetensors")
    expected = encoder.features(torch.from_numpy(FRAMES)).numpy()
    np.testing.assert_array_equal(loaded.features(torch.from_numpy(FRAMES)).numpy(), expected)
    for precision, least in (("float32", 0.9999), ("float16", 0.999)):
        recipe = recipe_of(encoder.config, precision=precision, stored_as=stored_as)
        got = run_onnx(build_onnx(weights_of(encoder), recipe), FRAMES)
        assert (got * expected).sum(axis=1).min() > least


@pytest.mark.parametrize("exponent", [0.0, 1.5, float("nan")])
def test_an_exponent_out_of_range_is_refused(plain: Encoder, exponent: float) -> None:
    with pytest.raises(SettingError, match="at most 1"):
        whitened(plain, [pictures(plain)], exponent)


def test_too_few_cells_are_refused(plain: Encoder) -> None:
    few = plain.normalise(torch.from_numpy(FRAMES[:1, :64, :64]))
    with pytest.raises(SettingError, match="more frames"):
        whitened(plain, [few], 0.5)
