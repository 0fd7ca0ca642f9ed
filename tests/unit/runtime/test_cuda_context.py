"""The context on a device does what the one on the CPU does: corrections, objects that come and go, snapshots."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.context import ContextBuffer
from crwedge.runtime.cuda.host import HostDriver
from crwedge.runtime.cuda.propagator import DevicePropagator
from crwedge.runtime.propagate import LabelPropagator, labels_to_ids
from tests.unit.runtime.test_cuda_plain import video

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")


def painted(rng: np.random.Generator, labels: int, grid: tuple[int, int]) -> NDArray[np.float32]:
    return rng.dirichlet(np.full(labels, 0.3), size=grid).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        PropagationSettings(context_length=3, topk=4, radius=3, storage="float16", max_pinned=2),
        PropagationSettings(context_length=2, topk=4, radius=3, storage="float16", max_pinned=1, prefill=False),
    ],
)
def test_the_same_labels_as_on_the_cpu_whatever_comes(settings: PropagationSettings) -> None:
    rng = np.random.default_rng(4)
    grid, count = (7, 9), 2
    features, soft = video(16, grid, 16, count)
    cpu, find = ContextBuffer.from_settings(settings), LabelPropagator(settings, 1)
    device = DevicePropagator(HostDriver(), settings)
    assert device.empty
    for context in (cpu, device):
        context.pin(features[0], soft)
    for number, current in enumerate(features[1:], start=1):
        want, have = find(current, cpu), device.propagate(current)
        np.testing.assert_allclose(have, want, atol=1e-5)
        ids = tuple(range(1, count))
        np.testing.assert_array_equal(device.ids(ids, (50, 70)), labels_to_ids(have, ids, (50, 70)))
        if number in (4, 9, 10):
            # A person paints, and an object is new.
            count += number == 4
            mine = painted(rng, count, grid)
            for context in (cpu, device):
                context.grow_labels(count)
                context.pin(current, mine)
            np.testing.assert_array_equal(device.ids((1, 2), (50, 70)), labels_to_ids(mine, (1, 2), (50, 70)))
        else:
            cpu.append(current, want)
            device.append(current, have)
        if number == 7:
            count -= 1
            cpu.drop_label(1)
            device.drop_label(1)
        if number == 12:
            tensors, places = device.state()
            device = DevicePropagator(HostDriver(), settings)
            device.restore(tensors, places)
        assert [(f.slot, f.copies, f.pinned) for f in device.frames()] == [
            (f.slot, f.copies, f.pinned) for f in cpu.frames()
        ]
    find.close()
    device.clear()
    assert device.nbytes == 0


def test_a_snapshot_of_the_cpu_goes_on_on_the_device() -> None:
    settings = PropagationSettings(context_length=2, topk=3, radius=2)
    features, soft = video(4, (6, 6), 16, 2)
    cpu, find = ContextBuffer.from_settings(settings), LabelPropagator(settings, 1)
    cpu.pin(features[0], soft)
    cpu.append(features[1], find(features[1], cpu))
    device = DevicePropagator(HostDriver(), settings)
    device.restore(*cpu.state())
    np.testing.assert_allclose(device.propagate(features[2]), find(features[2], cpu), atol=1e-5)
    find.close()


def test_a_frame_is_three_launches_and_must_fit() -> None:
    settings = PropagationSettings(context_length=2, topk=3, radius=2)
    features, soft = video(2, (6, 6), 16, 2)
    driver = HostDriver()
    device = DevicePropagator(driver, settings)
    device.pin(features[0], soft)
    device.propagate(features[1])
    assert driver.launches == ["pack", "pack", "attend", "settle"]
    with pytest.raises(Exception, match="do not fit a context"):
        device.propagate(features[1][:, :5])
