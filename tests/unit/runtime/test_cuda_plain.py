"""The plain kernels, compiled with g++ and driven by the same code as a GPU, against the slow and obvious reference."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from tests import reference

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")


def video(
    frames: int, grid: tuple[int, int], channels: int, labels: int, seed: int = 0
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Features that float16 holds exactly, and soft labels of the first frame."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(channels, *grid))
    features = []
    for t in range(frames):
        moved = np.roll(base, t, axis=2) + 0.5 * rng.normal(size=base.shape)
        moved /= np.linalg.norm(moved, axis=0)
        features.append(moved.astype(np.float16).astype(np.float32))
    soft = rng.dirichlet(np.full(labels, 0.3), size=grid).transpose(2, 0, 1).astype(np.float32)
    return features, soft


def follow(
    features: list[NDArray[np.float32]], soft: NDArray[np.float32], settings: PropagationSettings, **how: object
) -> list[NDArray[np.float32]]:
    propagator = DevicePropagator(HostDriver(), settings, **how)  # type: ignore[arg-type]
    propagator.pin(features[0], soft)
    results = [soft]
    for current in features[1:]:
        results.append(propagator.propagate(current))
        propagator.append(current, results[-1])
    propagator.clear()
    return results


CASES = {
    "crw": PropagationSettings(context_length=3, topk=5, radius=3),
    "restricted first frame": PropagationSettings(context_length=3, topk=5, radius=3, first_frame="restricted"),
    "square, empty start": PropagationSettings(
        context_length=3, topk=4, radius=2, window="square", first_frame="restricted", prefill=False
    ),
    "no restriction": PropagationSettings(context_length=2, topk=10, radius=math.inf),
    "k in each frame": PropagationSettings(context_length=3, topk=3, radius=3, topk_over="frame"),
    "k in each frame, restricted": PropagationSettings(
        context_length=3, topk=6, radius=1.5, topk_over="frame", first_frame="restricted"
    ),
    "k 1": PropagationSettings(context_length=2, topk=1, radius=3),
    "k 32": PropagationSettings(context_length=4, topk=32, radius=4, temperature=0.2),
    "fewer cells than k": PropagationSettings(
        context_length=1, topk=32, radius=1.5, first_frame="restricted", prefill=False
    ),
    "radius beyond the grid": PropagationSettings(context_length=2, topk=5, radius=40, first_frame="restricted"),
}


@pytest.mark.parametrize("shares", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_soft_labels_equal_the_reference(name: str, shares: int) -> None:
    settings = CASES[name]
    features, soft = video(6, (11, 13), 20, 3)
    names = ("radius", "temperature", "window", "first_frame", "topk_over", "prefill")
    options = {name: getattr(settings, name) for name in names}
    expected = reference.propagate(features, soft, m=settings.context_length, k=settings.topk, **options)
    for want, have in zip(expected, follow(features, soft, settings, shares=shares), strict=True):
        np.testing.assert_allclose(have, want, atol=1e-5)
        assert (have.argmax(axis=0) == want.argmax(axis=0)).mean() >= 0.999


def test_not_finite_features_are_refused_and_the_next_frame_goes_on() -> None:
    settings = PropagationSettings(context_length=2, topk=3, radius=2)
    features, soft = video(2, (8, 8), 16, 2)
    propagator = DevicePropagator(HostDriver(), settings)
    propagator.pin(features[0], soft)
    broken = features[1].copy()
    broken[3, 2, 5] = np.nan
    with pytest.raises(CrwedgeError, match="not finite"):
        propagator.propagate(broken)
    assert np.isfinite(propagator.propagate(features[1])).all()
