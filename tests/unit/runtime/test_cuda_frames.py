"""The kernels around the attention, in their plain variant: colour, size, layout, float16 and the label map."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crwedge.core.images import IMAGENET_MEAN, IMAGENET_STD, resize_frame
from crwedge.core.scene import render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.frames import FrameStage, Pictures
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator, live_words
from crwedge.runtime.propagation.propagator import labels_to_ids
from tests.unit.runtime.late_driver import LateDriver, held

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
PICTURE = render_scene(1, 60, 82).frames[0]


@pytest.mark.parametrize("size", [(60, 82), (30, 41), (23, 50), (90, 123), (61, 30)])
def test_resize_is_pillow_s(size: tuple[int, int]) -> None:
    driver = HostDriver()
    source, target = driver.allocate(PICTURE.nbytes), driver.allocate(size[0] * size[1] * 3)
    driver.upload(source, PICTURE, 1)
    Pictures(driver).resize(source, (60, 82), target, size, 1)
    have = np.empty((*size, 3), np.uint8)
    driver.download(have, target, 1)
    # Pillow rounds between the two axes, the kernel does not.
    assert np.abs(have.astype(int) - resize_frame(PICTURE, size)).max() <= 1


def test_normalised_planes() -> None:
    driver = HostDriver()
    source, target = driver.allocate(PICTURE.nbytes), driver.allocate(PICTURE.size * 4)
    driver.upload(source, PICTURE, 1)
    Pictures(driver).normalise(source, (60, 82), target, (60, 82), IMAGENET_MEAN, IMAGENET_STD, 1)
    have = np.empty((3, 60, 82), np.float32)
    driver.download(have, target, 1)
    want = (PICTURE / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(have, want.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("high_definition", [False, True])
def test_nv12(high_definition: bool) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (3, 3, 3)).repeat(4, axis=0).repeat(4, axis=1).astype(np.float64)
    red, blue = (0.2126, 0.0722) if high_definition else (0.299, 0.114)
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma_b, chroma_r = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    pitch = 20
    planes = np.zeros((18, pitch), np.uint8)
    planes[:12, :12] = np.round(16 + luma * 219 / 255)
    planes[12:, :12:2] = np.round(128 + chroma_b * 224 / 255)[::2, ::2]
    planes[12:, 1:12:2] = np.round(128 + chroma_r * 224 / 255)[::2, ::2]
    driver = HostDriver()
    source, target = driver.allocate(planes.nbytes), driver.allocate(12 * 12 * 3)
    driver.upload(source, planes, 1)
    Pictures(driver).nv12_to_rgb(source, source + 12 * pitch, pitch, target, (12, 12), 1, high_definition)
    have = np.empty((12, 12, 3), np.uint8)
    driver.download(have, target, 1)
    assert np.abs(have - rgb).max() <= 3


def test_float16_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(2)
    special = [0.0, -0.0, 1.0, 6e-8, 2.9e-8, 3.1e-8, 6.1e-5, 6.097e-5, 65504.0, 1 + 2**-11, 1 + 3 * 2**-11, -0.33]
    values = np.concatenate([special, rng.normal(size=200), rng.normal(size=44) * 1e-6]).astype(np.float32)
    features = values.reshape(256, 1, 1)
    driver = HostDriver()
    propagator = DevicePropagator(driver, PropagationSettings(context_length=1, topk=1, radius=2))
    propagator.pin(features, np.ones((1, 1, 1), np.float32))
    have = np.empty(256, np.float16)
    driver.download(have, propagator._memory().features, 1)
    np.testing.assert_array_equal(have.view(np.uint16), values.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("norm", ["none", "minmax"])
@pytest.mark.parametrize("labels", [2, 3, 40])
def test_label_map_is_the_cpu_s(labels: int, norm: str) -> None:
    rng = np.random.default_rng(labels)
    soft = rng.dirichlet(np.full(labels, 0.05), size=(9, 11)).transpose(2, 0, 1).astype(np.float32)
    soft[soft < 1e-3] = 0
    ids = tuple(range(3, 2 + labels))
    settings = PropagationSettings(context_length=1, topk=1, radius=2, output_norm=norm)  # type: ignore[arg-type]
    propagator = DevicePropagator(HostDriver(), settings)
    propagator.pin(rng.normal(size=(4, 9, 11)).astype(np.float32), soft)
    for size in ((70, 85), (9, 11), (31, 88)):
        have = propagator.ids(ids, size)
        assert (have == labels_to_ids(soft, ids, size, norm)).mean() >= 0.999


def test_live_words() -> None:
    rows = np.zeros((2, 40), np.float32)
    rows[0, [0, 31, 32]] = 1
    rows[1, 39] = 0.5
    assert live_words(rows).tolist() == [[0x80000001, 1], [0, 0x80]]


@pytest.mark.parametrize("integrated", [False, True])
def test_frames_ahead_arrive_in_order(integrated: bool) -> None:
    from dataclasses import replace

    driver = HostDriver()
    driver.facts = replace(driver.facts, integrated=integrated)
    stage = FrameStage(driver, 1)
    frames = [np.full((4, 6, 3), number, np.uint8) for number in range(5)]

    def at(address: int) -> int:
        have = np.empty((4, 6, 3), np.uint8)
        driver.download(have, address, 1)
        assert (have == have[0, 0, 0]).all()
        return int(have[0, 0, 0])

    stage.prefetch(frames[0])
    for number in range(4):
        address = stage.take(frames[number])
        stage.prefetch(frames[number + 1])
        assert at(address) == number
    # One that was not announced, and one of another size.
    assert at(stage.take(frames[2])) == 2
    assert stage.take(np.zeros((8, 8, 3), np.uint8)) != 0


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_frame_is_overwritten_before_it_is_read(early: bool, integrated: bool, seed: int) -> None:
    from dataclasses import replace

    rng = np.random.default_rng(seed)
    driver = LateDriver(early)
    driver.facts = replace(driver.facts, integrated=integrated)
    stream = driver.stream()
    stage = FrameStage(driver, stream)
    expected, found = [], []
    waiting = rng.integers(0, 256, (4, 6, 3), np.uint8)
    for _ in range(40):
        frame = waiting
        found.append(held(frame, stage.take(frame), driver, stream))
        expected.append(frame.copy())
        shape = (4, 6, 3) if rng.random() < 0.8 else (5, 7, 3)
        waiting = rng.integers(0, 256, shape, np.uint8)
        for _ in range(rng.integers(0, 3)):
            # One that was sent ahead makes way for a newer one, once or not at all.
            stage.prefetch(waiting)
            if rng.random() < 0.4:
                waiting = rng.integers(0, 256, shape, np.uint8)
        if rng.random() < 0.2:
            driver.synchronise(stream)
    stage.prefetch(waiting)
    stage.close()
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(have, want)


def test_a_copy_ahead_waits_for_no_other_frame() -> None:
    driver = LateDriver()
    stream = driver.stream()
    stage = FrameStage(driver, stream)
    first, second = (np.full((4, 6, 3), number, np.uint8) for number in (1, 2))
    held(first, stage.take(first), driver, stream)
    driver.log.clear()
    stage.prefetch(second)
    assert driver.log == ["upload 72 on 12"]
