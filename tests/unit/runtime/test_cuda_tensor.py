"""The tensor-core variant on fibres that stand in for a GPU's threads (lanes.hpp): its indexing, against the plain one.

The stand-in does the warp's operations by hand from the layouts in the PTX manual, so this shows that tiles, fragments,
stages and shares fit together. It says nothing about a real device.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.backends.cuda.source import Variant
from tests.unit.runtime.test_cuda_plain import follow, video

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
LANES = (f'-DCRWEDGE_LANES="{Path(__file__).with_name("lanes.hpp")}"', "-Wno-unused-function")

CASES = {
    "crw": PropagationSettings(context_length=3, topk=5, radius=3),
    "restricted": PropagationSettings(context_length=3, topk=7, radius=4.5, first_frame="restricted", prefill=False),
    "square": PropagationSettings(context_length=2, topk=4, radius=2, window="square", first_frame="restricted"),
    "k in each frame": PropagationSettings(context_length=2, topk=3, radius=3, topk_over="frame"),
}


@pytest.mark.parametrize(
    ("name", "channels", "row_warps", "shares"),
    [("crw", 64, 4, 2), ("restricted", 32, 2, 1), ("square", 64, 4, 3), ("k in each frame", 32, 2, 1)],
)
def test_tensor_variant_equals_plain(name: str, channels: int, row_warps: int, shares: int) -> None:
    settings = CASES[name]
    features, soft = video(3, (19, 11), channels, 3, seed=3)
    expected = follow(features, soft, settings, shares=shares)
    propagator = DevicePropagator(
        HostDriver(LANES), settings, variant=Variant(True, channels, row_warps), shares=shares
    )
    propagator.pin(features[0], soft)
    for current, want in zip(features[1:], expected[1:], strict=True):
        have = propagator.propagate(current)
        propagator.append(current, have)
        np.testing.assert_allclose(have, want, atol=1e-5)
    propagator.clear()
