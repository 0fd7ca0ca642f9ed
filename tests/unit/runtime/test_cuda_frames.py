"""The kernels around the attention, compiled for the CPU: size and layout of frames, float16, and bits of labels."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crwedge.core.images import resize_frame
from crwedge.core.scene import render_scene
from crwedge.runtime.backends.cuda.kernels import Kernels, label_bitmask
from crwedge.runtime.backends.cuda.memory import DeviceMemory
from crwedge.runtime.propagation.view import View
from tests.emulated_cuda import EmulatedCuda

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
PICTURE = render_scene(1, 60, 82).frames[0]


def resized(view: View) -> np.ndarray:
    driver = EmulatedCuda()
    source, target = driver.allocate(PICTURE.nbytes), driver.allocate(view.pixel_size[0] * view.pixel_size[1] * 3)
    driver.upload(source, PICTURE, 0)
    Kernels(DeviceMemory(driver, 0)).resize(source, (60, 82), target, view)
    have = np.empty((*view.pixel_size, 3), np.uint8)
    driver.download(have, target, 0)
    return have


@pytest.mark.parametrize("size", [(60, 82), (30, 41), (23, 50), (90, 123), (61, 30)])
def test_resize_is_pillow_s(size: tuple[int, int]) -> None:
    whole = resized(View.whole(size))
    # Pillow rounds between the two axes, the kernel does not.
    assert np.abs(whole.astype(int) - resize_frame(PICTURE, size)).max() <= 1
    part = View(size, (1, 1), (2, 3))
    np.testing.assert_array_equal(resized(part), whole[part.box])


def test_float16_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(2)
    special = [0.0, -0.0, 1.0, 6e-8, 2.9e-8, 3.1e-8, 6.1e-5, 6.097e-5, 65504.0, 1 + 2**-11, 1 + 3 * 2**-11, -0.33]
    values = np.concatenate([special, rng.normal(size=200), rng.normal(size=44) * 1e-6]).astype(np.float32)
    driver = EmulatedCuda()
    source, target, flag = driver.allocate(values.nbytes), driver.allocate(512), driver.allocate(4)
    kernels, have, broken = Kernels(DeviceMemory(driver, 0)), np.empty(256, np.float16), np.empty(1, np.int32)
    for bad in (None, np.nan, np.inf, 70000.0):
        given = values.copy()
        if bad is not None:
            given[77] = bad
        driver.upload(source, given, 0)
        one = View.whole((8, 8))
        kernels.store_features(source, one, target, flag, 256, one)
        driver.download(broken, flag, 0)
        assert broken[0] == (bad is not None)
        if bad is None:
            driver.download(have, target, 0)
            np.testing.assert_array_equal(have.view(np.uint16), values.astype(np.float16).view(np.uint16))


def test_label_bitmask() -> None:
    rows = np.zeros((2, 40), np.float32)
    rows[0, [0, 31, 32]] = 1
    rows[1, 39] = 0.5
    assert label_bitmask(rows).tolist() == [[0x80000001, 1], [0, 0x80]]
