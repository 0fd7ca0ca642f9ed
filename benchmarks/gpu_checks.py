"""Correctness of the device's propagation against the reference in float64, on fresh random data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Search
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.view import Size, View
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

    @property
    def view(self) -> View:
        """A whole frame of so many cells."""
        return View.whole((8 * self.soft.shape[1], 8 * self.soft.shape[2]))


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


class GivenFeatures:
    """Stands where the encoder would, and gives the features of a video in order."""

    name = "given features"

    def __init__(self, video: Video) -> None:
        self._video, self._next = video, 0

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The next frame's features; the video starts again after its end."""
        self._next += 1
        return self._video.features[(self._next - 1) % len(self._video.features)]

    def close(self) -> None:
        """Nothing to give back."""


class Run:
    """A video on a device, frame by frame; its first frame is pinned."""

    def __init__(
        self, driver: Driver, settings: PropagationSettings, video: Video, variant: Variant | None = None
    ) -> None:
        self.backend = CudaBackend(GivenFeatures(video), settings, driver=driver, variant=variant)
        self._view, self._blank = video.view, np.zeros((*video.view.size, 3), np.uint8)
        self.prediction = self.backend.label(self.backend.encode(self._blank, self._view), video.soft)
        self.backend.remember(self.prediction, pinned=True, trust=1)

    def step(self) -> NDArray[np.float32]:
        """Label the next frame; its soft labels (K, h, w)."""
        features = self.backend.encode(self._blank, self._view)
        self.prediction = self.backend.propagate(features, Search(self.backend.settings))
        self.backend.remember(self.prediction, pinned=False, trust=1)
        return self.prediction.soft


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
    run, error, same = Run(driver, settings, video, variant), 0.0, 1.0
    for want in expected[1:]:
        have = run.step()
        error = max(error, float(np.abs(have - want).max()))
        same = min(same, float((have.argmax(axis=0) == want.argmax(axis=0)).mean()))
    run.backend.close()
    return {"soft_error": error, "same_cells": same, "passed": error <= SOFT_TOLERANCE and same >= MAP_SHARE}


def check_output(
    driver: Driver, rng: np.random.Generator, grid: tuple[int, int], labels: int
) -> dict[str, float | bool]:
    """Compare the label map of the frame's size with the reference's resize and argmax."""
    video = random_video(rng, 1, grid, labels, channels=32)
    size: Size = (grid[0] * 8 - 3, grid[1] * 8 - 1)
    run = Run(driver, PropagationSettings(context_length=1), video)
    have = run.prediction.ids(tuple(range(1, labels)), size)
    run.backend.close()
    want = reference.resize_linear(video.soft.astype(np.float64), size).argmax(axis=0)
    same = float((have == want).mean())
    return {"same_pixels": same, "passed": same >= MAP_SHARE}
