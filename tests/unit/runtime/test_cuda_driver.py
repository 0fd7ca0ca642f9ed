"""The calls to PyCUDA and to NVIDIA's library, against fakes of both: glue and error lines, no real device."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Search
from crwedge.runtime.backends.cuda import nvidia
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.pycuda_driver import PyCuda, open_driver
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.view import View
from tests.backends import GRID, SIZE, CellEngine, random_soft, video
from tests.emulated_cuda import EmulatedCuda, build
from tests.fake_pycuda import FakePyCuda

SETTINGS = PropagationSettings(context_length=2, topk=3, radius=2)
MISSING = "libcuda.so.1 is missing: this machine has no NVIDIA driver (install it, or use --engine cpu)"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """NVIDIA's library: the numbers that its two calls give."""
    fake = SimpleNamespace(init=0, sticky=0)
    fake.cuInit = lambda _: fake.init
    fake.cuCtxSynchronize = lambda: fake.sticky
    monkeypatch.setattr(nvidia, "_library", lambda: fake)
    return fake


class Device(PyCuda):
    """The fake takes a library of g++ for a cubin."""

    def load(self, source: str, variant: Variant) -> Any:
        if (source, variant) not in self._modules:
            self._modules[source, variant] = self.load_cubin(build(source, variant))  # type: ignore[arg-type]
        return self._modules[source, variant]


def follow(driver: Driver) -> list[np.ndarray]:
    backend, view = CudaBackend(CellEngine(), SETTINGS, driver=driver), View.whole(SIZE)
    found: list[np.ndarray] = []
    frames = video(4)
    backend.remember(backend.label(backend.encode(frames[0], view), random_soft(2, GRID)), pinned=True, trust=1)
    for frame in frames[1:]:
        prediction = backend.propagate(backend.encode(frame, view), Search(SETTINGS))
        found += [prediction.soft, prediction.ids((1,), SIZE)]
        backend.remember(prediction, pinned=False, trust=1)
    backend.close()
    return found


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
def test_propagation_through_pycuda_equals_the_emulated_one() -> None:
    cuda = FakePyCuda()
    device = Device(cuda=cuda)
    assert (device.facts.name, device.facts.architecture, device.facts.driver) == ("Fake GPU", "sm_75", "13.0")
    for have, want in zip(follow(device), follow(EmulatedCuda()), strict=True):
        np.testing.assert_array_equal(have, want)
    assert not cuda.device.memory
    address = device.allocate(64)
    copied = device.allocate(64)
    stream = device.stream()
    device.upload(address, np.arange(8.0), stream)
    device.copy(copied, address, 64, stream)
    back = np.zeros(8)
    device.download(back, copied, stream)
    assert (back == np.arange(8.0)).all()
    first, last = device.event(), device.event()
    device.record(first, stream)
    assert device.elapsed_ms(first, last) == 1.5
    device.close()
    device.close()
    assert (cuda.depth, cuda.detached) == (0, 1)
    with pytest.raises(DeviceError, match="this device was closed; open a new tracker"):
        device.allocate(1)


@pytest.mark.parametrize(
    ("call", "text", "expected"),
    [
        ("Device", "cuDeviceGet failed: invalid device ordinal", "cannot open GPU 0: cuDeviceGet failed: invalid"),
        (
            "mem_alloc",
            "cuMemAlloc failed: out of memory",
            "of device memory: out of device memory; use a smaller size or context",
        ),
        ("module_from_buffer", "cuModuleLoadDataEx failed: no kernel image", "cannot load the kernels: cuModule"),
        (
            "set_attribute",
            "cuFuncSetAttribute failed: invalid\nmore",
            "cannot find the kernel store_features: cuFuncSetAttribute",
        ),
        ("launch", "cuLaunchKernel failed: invalid argument", "cannot start a kernel: cuLaunchKernel failed: invalid"),
    ],
)
def test_each_failure_is_one_clear_line(call: str, text: str, expected: str) -> None:
    cuda = FakePyCuda()
    cuda.failures[call] = text
    with pytest.raises(DeviceError) as failed:
        follow(Device(cuda=cuda))
    assert expected in str(failed.value)
    assert str(failed.value).startswith("cannot ")
    assert "\n" not in failed.value.args[0]
    assert not failed.value.lost
    assert cuda.depth == 0


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (100, "cannot start CUDA: there is no NVIDIA GPU on this machine (or CUDA_VISIBLE_DEVICES hides it)"),
        (803, "the NVIDIA driver and its libraries are of different versions; restart the machine"),
        (3, "this process was forked after CUDA began"),
        (4711, "cannot start CUDA: the NVIDIA driver answered an error (4711)"),
    ],
)
def test_cuda_that_does_not_start_says_why(library: SimpleNamespace, code: int, expected: str) -> None:
    library.init = code
    with pytest.raises(DeviceError) as failed:
        PyCuda(cuda=FakePyCuda())
    assert expected in str(failed.value)


def test_an_old_driver() -> None:
    with pytest.raises(
        DeviceError, match=r"too old: it supports CUDA 11\.4, and CUDA 12\.0 is needed; update the driver"
    ):
        PyCuda(cuda=FakePyCuda(version=11040))


def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CRWEDGE_LIBCUDA", "libnothere.so.1")
    nvidia._library.cache_clear()
    try:
        assert nvidia.missing() == MISSING
        with pytest.raises(DeviceError) as failed:
            open_driver()
        assert str(failed.value) == MISSING
    finally:
        nvidia._library.cache_clear()


@pytest.mark.parametrize("code", [700, 719])
def test_a_lost_device_is_closed_without_another_error_and_its_context_is_given_back(
    library: SimpleNamespace, code: int
) -> None:
    cuda = FakePyCuda()
    device = Device(cuda=cuda)
    engine = CellEngine()
    backend, view = CudaBackend(engine, SETTINGS, driver=device), View.whole(SIZE)
    backend.remember(backend.label(backend.encode(video(1)[0], view), random_soft(2, GRID)), pinned=True, trust=1)
    library.sticky = code
    cuda.failures = {name: "failed: unspecified launch failure" for name in ("synchronize", "free", "launch")}
    with pytest.raises(DeviceError, match="the device is lost to this process; start again") as failed:
        backend.encode(video(1)[0], view)
    assert failed.value.lost
    backend.close()
    device.close()
    assert engine.closed
    assert (cuda.depth, cuda.detached) == (0, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_after_cuda_began() -> None:
    device = PyCuda(cuda=FakePyCuda())
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            device.allocate(8)
        except DeviceError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.wait()
    assert os.read(read, 1000).startswith(
        b"cannot take 0.0 MB of device memory: this process was forked after CUDA began"
    )
    device.allocate(8)
    device.close()


def test_out_of_memory_frees_what_nothing_uses_and_tries_again() -> None:
    from crwedge.runtime.backends.cuda.memory import DeviceMemory

    driver = EmulatedCuda(memory_bytes=4000)
    memory = DeviceMemory(driver, driver.stream())
    memory.reserve(1000, 2)
    held = memory.take(1000)
    assert memory.take(2000).size == 2000, "the other block went back to the device"
    with pytest.raises(DeviceError, match="out of device memory"):
        memory.take(3000)
    del held
    memory.close()
    assert not driver.memory


def test_where_a_gpu_is(library: SimpleNamespace) -> None:
    def place(text: Any, length: int, handle: Any) -> int:
        text.value = b"0000:65:00.0"
        return 0

    library.cuDeviceGet, library.cuDeviceGetPCIBusId = lambda *_: 0, place
    assert nvidia.bus_id() == "0000:65:00.0"
    library.cuDeviceGet = lambda *_: 101
    with pytest.raises(DeviceError, match="there is no NVIDIA GPU with that number"):
        nvidia.bus_id(7)
