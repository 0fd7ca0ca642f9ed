"""The tensor-core variant on emulated warps (`tests/emulated_warps.hpp`): its indexing, against the CPU.

The stand-in does the warp's operations by hand from the layouts in the PTX manual, so this shows that tiles, fragments,
stages and key splits fit together. It says nothing about a real device.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Search
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.view import View
from tests.emulated_cuda import EmulatedCuda

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
WARPS = (f'-DCRWEDGE_WARPS="{Path(__file__).parents[2] / "emulated_warps.hpp"}"', "-Wno-unused-function")
SIZE = (152, 88)
FRAME = np.zeros((*SIZE, 3), np.uint8)

CASES = {
    "crw": PropagationSettings(context_length=3, topk=5, radius=3, storage="float16"),
    "restricted": PropagationSettings(
        context_length=3, topk=7, radius=4.5, first_frame="restricted", prefill=False, storage="float16"
    ),
    "square": PropagationSettings(
        context_length=2, topk=4, radius=2, window="square", first_frame="restricted", storage="float16"
    ),
    "k in each frame": PropagationSettings(context_length=2, topk=3, radius=3, topk_over="frame", storage="float16"),
}
WHOLE = [View.whole(SIZE)] * 4
PARTS = [
    View(SIZE, (0, 1), (12, 9)), View(SIZE, (5, 0), (13, 11)), View(SIZE, (2, 2), (17, 6)), View(SIZE, (3, 1), (11, 10)),
]  # fmt: skip


class GivenFeatures:
    """An engine that gives what it was told."""

    name = "given"

    def __init__(self) -> None:
        self.features = np.zeros((0, 0, 0), np.float32)

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.features

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize("views", [WHOLE, PARTS], ids=["whole", "parts"])
@pytest.mark.parametrize(
    ("name", "channels", "row_warps", "key_splits"),
    [("crw", 64, 4, 2), ("restricted", 32, 2, 1), ("square", 64, 4, 3), ("k in each frame", 32, 2, 1)],
)
def test_tensor_variant_equals_the_cpu(
    name: str, channels: int, row_warps: int, key_splits: int, views: list[View]
) -> None:
    settings, engine, rng = CASES[name], GivenFeatures(), np.random.default_rng(3)
    base = rng.normal(size=(channels, 19, 11))
    tensor = CudaBackend(
        engine, settings, driver=EmulatedCuda(WARPS), variant=Variant(True, channels, row_warps), key_splits=key_splits
    )
    backends = tensor, CpuBackend(engine, settings, 1)
    soft = rng.dirichlet(np.full(3, 0.3), size=views[0].grid).transpose(2, 0, 1).astype(np.float32)
    for t, view in enumerate(views):
        noisy = np.roll(base, t, axis=2) + 0.5 * rng.normal(size=base.shape)
        noisy /= np.linalg.norm(noisy, axis=0)
        engine.features = view.encoded.part(noisy.astype(np.float16).astype(np.float32))
        found = []
        for backend in backends:
            features = backend.encode(FRAME, view)
            prediction = backend.label(features, soft) if t == 0 else backend.propagate(features, Search(settings))
            backend.remember(prediction, pinned=t == 0, trust=1)
            found.append(prediction.soft)
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    for backend in backends:
        backend.close()
