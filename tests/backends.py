"""Backends of every kind for the contract suite, and what they are fed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Backend
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.encode import EncoderOutput
from crwedge.runtime.propagation.view import View
from tests.emulated_cuda import EmulatedCuda

CHANNELS = 20
SIZE = (88, 104)
GRID = (11, 13)
SETTINGS = PropagationSettings(context_length=3, topk=5, radius=3, storage="float16", max_pinned=2)


class CellEngine:
    """Unit-length features that float16 holds, each of the pixels of its own cell alone; `weights` chooses the encoder."""

    name = "cells 1.0"

    def __init__(self, weights: int = 0) -> None:
        self._matrix = np.random.default_rng(weights).normal(size=(192, CHANNELS))
        self.closed = False

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width, _ = frame.shape
        padded = np.pad(frame, ((0, -height % 8), (0, -width % 8), (0, 0)))
        h, w = padded.shape[0] // 8, padded.shape[1] // 8
        cells = padded.reshape(h, 8, w, 8, 3).transpose(0, 2, 1, 3, 4).reshape(h * w, 192)
        features = (cells / 127.5 - 1) @ self._matrix
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
        return np.ascontiguousarray(features.T.astype(np.float16), np.float32).reshape(CHANNELS, h, w)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class CellEngineOnDevice(CellEngine):
    """The same with its output in device memory."""

    def __init__(self, driver: EmulatedCuda, weights: int = 0) -> None:
        super().__init__(weights)
        self.driver, self.stream = driver.retain(), driver.stream()
        self._address = 0

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        features = self.run(view.pixels(frame))
        if self._address:
            self.driver.free(self._address)
        self._address = self.driver.allocate(features.nbytes)
        self.driver.upload(self._address, features, self.stream)
        return EncoderOutput(self._address, (features.shape[0], features.shape[1], features.shape[2]))

    def close(self) -> None:
        super().close()
        self.driver.close()


Make = Callable[..., Backend]


def cpu(settings: PropagationSettings = SETTINGS, weights: int = 0, keep_frames: bool = False) -> Backend:
    return CpuBackend(CellEngine(weights), settings, 2, keep_frames)


def cuda(
    settings: PropagationSettings = SETTINGS,
    weights: int = 0,
    keep_frames: bool = False,
    driver: EmulatedCuda | None = None,
) -> Backend:
    own = driver or EmulatedCuda()
    engine = CellEngineOnDevice(own, weights)
    if driver is None:
        own.close()
    return CudaBackend(engine, settings, keep_frames)


def cuda_fed_by_cpu(settings: PropagationSettings = SETTINGS, weights: int = 0, keep_frames: bool = False) -> Backend:
    return CudaBackend(CellEngine(weights), settings, keep_frames, driver=EmulatedCuda(), key_splits=3)


MAKERS: dict[str, Make] = {"cpu": cpu, "cuda": cuda, "cuda, engine elsewhere": cuda_fed_by_cpu}


def video(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> list[NDArray[np.uint8]]:
    """A random texture that moves two pixels a frame, under noise."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (*size, 3))
    noisy = [np.roll(base, 2 * t, axis=1) + rng.integers(-30, 31, base.shape) for t in range(count)]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy]


def random_soft(labels: int, grid: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return np.ascontiguousarray(rng.dirichlet(np.full(labels, 0.3), size=grid).transpose(2, 0, 1), np.float32)


def views(number: int) -> View:
    """Rectangles that move, grow and shrink; the third is the whole frame, the sixth hardly touches the others."""
    rectangles = [
        ((2, 3), (5, 6)),
        ((3, 3), (4, 8)),
        ((0, 0), GRID),
        ((1, 4), (6, 6)),
        ((4, 5), (7, 3)),
        ((0, 11), (2, 2)),
    ]
    return View(SIZE, *rectangles[number % len(rectangles)])


def whole(_: int) -> View:
    return View.whole(SIZE)
