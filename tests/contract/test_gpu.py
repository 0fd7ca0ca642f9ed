"""On a machine with an NVIDIA GPU: propagation on it equals the reference, for every setting and variant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import gpu_checks
from benchmarks.gpu import variants
from crwedge.core.errors import CrwedgeError
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.pycuda_driver import open_driver

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device() -> Iterator[Driver]:
    try:
        driver = open_driver()
    except CrwedgeError as error:
        pytest.skip(f"no GPU: {error}")
    yield driver
    driver.close()


@pytest.mark.parametrize("name", gpu_checks.CASES)
def test_every_variant_equals_the_reference(device: Driver, name: str) -> None:
    for variant in variants(device.facts.capability):
        video = gpu_checks.random_video(np.random.default_rng(11), 6, (23, 31), 3)
        row = gpu_checks.check(device, gpu_checks.CASES[name], video, variant)
        assert row["passed"], (variant, row)


@pytest.mark.parametrize("labels", [2, 11, 101])
def test_the_label_map_equals_the_reference(device: Driver, labels: int) -> None:
    row = gpu_checks.check_output(device, np.random.default_rng(labels), (23, 31), labels)
    assert row["passed"], row
