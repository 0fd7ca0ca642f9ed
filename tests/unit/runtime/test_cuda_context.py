"""The context on a device does what the one on the CPU does: corrections, objects that come and go, snapshots."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.propagator import LabelPropagator, labels_to_ids
from tests.unit.runtime.late_driver import LateDriver
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
    cpu, find = ContextBuffer(settings), LabelPropagator(settings, 1)
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
    cpu, find = ContextBuffer(settings), LabelPropagator(settings, 1)
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


@pytest.mark.parametrize("norm", ["none", "minmax"])
@pytest.mark.parametrize("seed", range(3))
def test_a_graph_never_changes_a_result_whatever_comes(seed: int, norm: str) -> None:
    rng = np.random.default_rng(seed)
    settings = PropagationSettings(
        context_length=3,
        topk=4,
        radius=3,
        max_pinned=2,
        output_norm=norm,  # type: ignore[arg-type]
    )
    other = settings.with_changes(radius=2)
    features, soft = video(60, (7, 9), 16, 2)
    drivers = HostDriver(), LateDriver()
    graphs, plain = (DevicePropagator(d, settings, graph=g) for d, g in zip(drivers[::-1], (True, False), strict=True))
    for device in (graphs, plain):
        device.pin(features[0], soft)
    count, size = 2, (50, 70)
    for current in features[1:]:
        chosen = other if rng.random() < 0.2 else settings
        have, want = (device.propagate(current, chosen) for device in (graphs, plain))
        np.testing.assert_array_equal(have, want)
        event = rng.random()
        count += event < 0.06
        mine = painted(rng, count, (7, 9))
        slots = [slot for slot in graphs.ring if rng.random() < 0.5]
        for device, labels in ((graphs, have), (plain, want)):
            if event < 0.1:
                device.grow_labels(count)
                device.pin(current, mine)
            else:
                device.append(current, labels)
            if 0.1 <= event < 0.14 and count > 2:
                device.drop_label(1)
            if 0.14 <= event < 0.2:
                device.keep(slots)
            device.newest = 2 if event > 0.9 else None
        if 0.1 <= event < 0.14 and count > 2:
            count -= 1
            continue
        size = (31, 88) if 0.2 < event < 0.25 else (64, 70) if 0.25 < event < 0.3 else size
        for ids in [tuple(range(1, count)), tuple(range(7, 6 + count))][: 1 + (event > 0.93)]:
            np.testing.assert_array_equal(graphs.ids(ids, size), plain.ids(ids, size))
    assert drivers[1].launches.count("graph") > 15
    for left, right in zip(graphs.state()[0].values(), plain.state()[0].values(), strict=True):
        np.testing.assert_array_equal(left, right)
    graphs.clear()
    assert not drivers[1]._graphs
