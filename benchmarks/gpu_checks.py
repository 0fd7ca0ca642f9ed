"""Correctness of the device's propagation against the reference in float64, on fresh random data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.backends.cuda.source import Variant
from tests import reference

SOFT_TOLERANCE = 2e-3
MAP_SHARE = 0.999

CASES: dict[str, PropagationSettings] = {
    "crw": PropagationSettings(),
    "crw, m 7, k 20, r 20": PropagationSettings(context_length=7, topk=20, radius=20),
    "k 32": PropagationSettings(context_length=4, topk=32, radius=8),
    "k 1": PropagationSettings(context_length=4, topk=1, radius=8),
    "dino": PropagationSettings(7, 5, 12, 0.1, "square", "restricted", prefill=False),
    "dinov3": PropagationSettings(7, 5, 12, 0.2, first_frame="restricted", prefill=False),
    "no restriction": PropagationSettings(context_length=4, radius=math.inf),
    "k in each frame": PropagationSettings(context_length=4, topk_over="frame"),
    "radius 1.5": PropagationSettings(context_length=4, radius=1.5, first_frame="restricted"),
}


@dataclass
class Video:
    """Random features that float16 holds, and soft labels of the first frame."""

    features: list[NDArray[np.float32]]
    """(C, h, w) each, unit length over C."""
    soft: NDArray[np.float32]
    """(K, h, w)."""


def random_video(
    rng: np.random.Generator, frames: int, grid: tuple[int, int], labels: int, channels: int = 256
) -> Video:
    """A pattern that moves by a cell a frame, under noise."""
    base = rng.normal(size=(channels, *grid))
    features = []
    for t in range(frames):
        current = np.roll(base, t, axis=2) + 0.5 * rng.normal(size=base.shape)
        current /= np.linalg.norm(current, axis=0)
        features.append(current.astype(np.float16).astype(np.float32))
    soft = rng.dirichlet(np.full(labels, 0.3), size=grid).transpose(2, 0, 1)
    return Video(features, soft.astype(np.float32))


def check(
    driver: Driver, settings: PropagationSettings, video: Video, variant: Variant | None = None
) -> dict[str, float | bool]:
    """Follow a short video and compare every frame.

    Returns:
        largest difference of a soft label, share of cells with the same label, whether both are within bounds.
    """
    names = ("radius", "temperature", "window", "first_frame", "topk_over", "prefill")
    options = {name: getattr(settings, name) for name in names}
    expected = reference.propagate(video.features, video.soft, m=settings.context_length, k=settings.topk, **options)
    propagator = DevicePropagator(driver, settings, variant=variant)
    propagator.pin(video.features[0], video.soft)
    error, same = 0.0, 1.0
    for current, want in zip(video.features[1:], expected[1:], strict=True):
        have = propagator.propagate(current)
        propagator.append(current, have)
        error = max(error, float(np.abs(have - want).max()))
        same = min(same, float((have.argmax(axis=0) == want.argmax(axis=0)).mean()))
    propagator.clear()
    return {"soft_error": error, "same_cells": same, "passed": error <= SOFT_TOLERANCE and same >= MAP_SHARE}


def check_output(
    driver: Driver, rng: np.random.Generator, grid: tuple[int, int], labels: int
) -> dict[str, float | bool]:
    """Compare the label map of the frame's size with the reference's resize and argmax."""
    soft = rng.dirichlet(np.full(labels, 0.05), size=grid).transpose(2, 0, 1).astype(np.float32)
    size = grid[0] * 8 - 3, grid[1] * 8 - 1
    propagator = DevicePropagator(driver, PropagationSettings(context_length=1))
    propagator.pin(rng.normal(size=(32, *grid)).astype(np.float32), soft)
    have = propagator.ids(tuple(range(1, labels)), size)
    propagator.clear()
    want = reference.resize_linear(soft.astype(np.float64), size).argmax(axis=0)
    same = float((have == want).mean())
    return {"same_pixels": same, "passed": same >= MAP_SHARE}
