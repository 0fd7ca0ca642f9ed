"""The calls to NVIDIA's driver, against a fake of it (fake_libcuda.c): glue and error lines, no real device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to build the fake driver with")
ROOT = Path(__file__).parents[3]
CUDA_H = [Path(home) / "include" for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home]
"""Where NVIDIA's header may stand."""

BEGIN = """
import os
import numpy as np
from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda import host, libcuda
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.backends.cuda.source import Variant
settings = PropagationSettings(context_length=2, topk=3, radius=2)
rng = np.random.default_rng(0)
features = rng.normal(size=(4, 8, 7, 9)).astype(np.float32)
soft = rng.dirichlet([1, 1], size=(7, 9)).transpose(2, 0, 1).astype(np.float32)
class Device(libcuda.LibCuda):
    "The fake takes a library's path for a cubin."
    def load(self, source, variant):
        if (source, variant) not in self._modules:
            self._modules[source, variant] = self.load_cubin(host.build(source, variant)._name.encode())
        return self._modules[source, variant]
def follow(driver, steps=1, graph=False, say=print):
    propagator = DevicePropagator(driver, settings, variant=Variant(False, 8), graph=graph, say=say)
    propagator.pin(features[0], soft)
    found = []
    for i in range(steps):
        found.append(propagator.propagate(features[i % 4]))
        propagator.append(features[i % 4], found[-1])
        found.append(propagator.ids((1,), (50, 60)))
    propagator.clear()
    return found
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory, kernels: Path) -> Path:
    library = tmp_path_factory.mktemp("fake") / "libfakecuda.so"
    source = Path(__file__).with_name("fake_libcuda.c")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"], check=True)
    return library


def run(script: str, fake: Path | None, **environment: str) -> str:
    """What the script prints; a CrwedgeError ends it and is printed."""
    body = BEGIN + "try:\n" + "".join(f"    {line}\n" for line in script.strip().splitlines())
    body += "except CrwedgeError as error:\n    print('error:', error)\n"
    library = str(fake) if fake else "libnothere.so.1"
    done = subprocess.run(
        [sys.executable, "-c", body], env={**os.environ, "CRWEDGE_LIBCUDA": library, **environment},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
def test_propagation_through_the_driver_equals_the_one_on_the_host(fake: Path) -> None:
    # Two trackers in one process, on one primary context, frame by frame in turn.
    script = """
first, second = Device(), Device()
want = follow(host.HostDriver(), 3)
a = DevicePropagator(first, settings, variant=Variant(False, 8), graph=False)
b = DevicePropagator(second, settings, variant=Variant(False, 8), graph=False)
a.pin(features[0], soft); b.pin(features[0], soft)
for i in range(3):
    for one in (a, b):
        labels = one.propagate(features[i])
        np.testing.assert_array_equal(labels, want[2 * i])
        one.append(features[i], labels)
a.clear(); first.close()
assert np.isfinite(b.propagate(features[1])).all()
print(first.facts.name, first.facts.architecture, first.facts.driver)
first.allocate(1)
"""
    assert run(script, fake) == "Fake GPU sm_75 13.0\nerror: this device was closed; open a new tracker"


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("cuInit:100", "cannot start CUDA: there is no NVIDIA GPU on this machine (or CUDA_VISIBLE_DEVICES hides it)"),
        ("cuInit:803", "the NVIDIA driver and its libraries are of different versions; restart the machine"),
        ("cuDevicePrimaryCtxRetain:46", "the GPU is in use by a process that keeps it to itself"),
        ("cuMemAlloc_v2:2", "out of device memory; use a smaller --size or --context"),
        ("cuModuleLoadData:209", "the kernels were compiled for another GPU"),
        ("cuLaunchKernel:1", "cannot start a kernel: the NVIDIA driver answered CUDA_ERROR_FAKE (1)"),
        ("cuStreamSynchronize:719", "a kernel failed and the device is lost to this process; start again"),
    ],
)
def test_each_failure_is_one_clear_line(fake: Path, plan: str, expected: str) -> None:
    printed = run("follow(Device())", fake, FAKE_CUDA=plan)
    assert printed.startswith("error: cannot ")
    assert expected in printed
    assert len(printed.splitlines()) == 1


def test_a_missing_driver(fake: Path) -> None:
    printed = run("Device()", None)
    assert printed == (
        "error: libcuda.so.1 is missing: this machine has no NVIDIA driver (install it, or use --engine cpu)"
    )


def test_an_old_driver(fake: Path) -> None:
    printed = run("Device()", fake, FAKE_CUDA_VERSION="11040")
    assert printed == ("error: the NVIDIA driver is too old: it knows CUDA 11.4 and needs 12.0; update the driver")


def test_a_driver_without_a_call(fake: Path) -> None:
    script = """
libcuda.call("cuNoSuchCall", "fly")
"""
    assert (
        run(script, fake)
        == "error: cannot fly: the NVIDIA driver is too old (it has no cuNoSuchCall); update the driver"
    )


def test_the_fake_s_calls_are_declared_as_nvidia_s_own(fake: Path) -> None:
    include = next((folder for folder in CUDA_H if (folder / "cuda.h").is_file()), None)
    if include is None:
        pytest.skip("there is no cuda.h on this machine")
    source = Path(__file__).with_name("fake_libcuda.c")
    subprocess.run([str(COMPILER), "-DCUDA_H", f"-I{include}", "-fsyntax-only", str(source)], check=True)


def test_a_graph_is_recorded_once_launched_for_every_step_and_everything_is_given_back(fake: Path) -> None:
    script = """
calls = []
real = libcuda.call
def noted(name, doing, *arguments):
    calls.append(name)
    real(name, doing, *arguments)
libcuda.call = noted
device = Device()
found, want = follow(device, 6, graph=True), follow(host.HostDriver(), 6)
for one, other in zip(found, want): np.testing.assert_array_equal(one, other)
# The label map joins the step at the second one; that is queued as it is, the third is recorded, three are launched again.
assert calls.count("cuGraphInstantiateWithFlags") == 1 and calls.count("cuGraphLaunch") == 4, calls
device.event()
device.close()
device.close()
"""
    assert run(script, fake, FAKE_CUDA_LEFT="1") == ""


@pytest.mark.parametrize(
    "plan",
    ["cuStreamBeginCapture_v2:900", "cuStreamEndCapture:901", "cuGraphInstantiateWithFlags:2"],
)  # fmt: skip
def test_where_a_graph_cannot_be_recorded_kernels_are_launched_one_by_one(fake: Path, plan: str) -> None:
    script = """
device = Device()
found, want = follow(device, 6, graph=True), follow(host.HostDriver(), 6)
for one, other in zip(found, want): np.testing.assert_array_equal(one, other)
device.close()
"""
    printed = run(script, fake, FAKE_CUDA=plan, FAKE_CUDA_LEFT="1").splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("propagation is not recorded as a CUDA graph, and launched one by one: cannot ")


def test_a_failure_while_recording_leaves_the_stream_usable(fake: Path) -> None:
    script = """
device = Device()
stream = device.stream()
device.begin_capture(stream)
device.abandon_capture(stream)
device.synchronise(stream)
device.begin_capture(stream)
os.environ["FAKE_CUDA"] = "cuStreamEndCapture:901"
device.abandon_capture(stream)
device.synchronise(stream)
device.close()
"""
    assert run(script, fake, FAKE_CUDA_LEFT="1") == ""


@pytest.mark.parametrize("code", [700, 719])
def test_a_lost_device_is_closed_without_another_error_and_its_context_is_given_back(fake: Path, code: int) -> None:
    script = f"""
device = Device()
device.allocate(64), device.pinned((4,), np.float32), device.event()
stream = device.stream()
os.environ["FAKE_CUDA"] = "cuStreamSynchronize:{code}"
try: device.synchronise(stream)
except CrwedgeError as error: print(error)
os.environ["FAKE_CUDA"] = "cuMemFree_v2:{code}"
device.close()
"""
    printed = run(script, fake, FAKE_CUDA_LEFT="1").splitlines()
    assert printed[0].startswith("cannot finish the work on the device: ")
    assert printed[1:] == ["left: 1 blocks"]


def test_pinned_memory_is_given_back_when_labels_come_and_go(fake: Path) -> None:
    script = """
device = Device()
propagator = DevicePropagator(device, settings, variant=Variant(False, 8))
propagator.pin(features[0], soft)
propagator.propagate(features[1]); propagator.ids((1,), (50, 60))
before = len(device._pinned), len(device._modules), len(device._made)
for count in range(3, 30):
    propagator.grow_labels(count)
    propagator.propagate(features[1])
    propagator.ids(tuple(range(1, count)), (50 + count, 60))
    propagator.propagate(features[1]); propagator.propagate(features[1])
assert (len(device._pinned), len(device._modules), len(device._made)) == before
assert len(device._graphs) == 1
one = DevicePropagator(device, settings, variant=Variant(False, 8))
one.pin(features[0], np.ones((1, 7, 9), np.float32))
alone = one.propagate(features[1])
second = one.propagate(features[2])
alone[:] = 7
np.testing.assert_allclose(second, 1, atol=1e-6)  # the arrays are the caller's, not the buffer
assert one.propagate(features[1]) is not second and (alone == 7).all()
"""
    assert run(script, fake) == ""


def test_a_fork_after_cuda_began(fake: Path) -> None:
    script = """
device = Device()
if os.fork() == 0:
    try:
        device.allocate(8)
    except CrwedgeError as error:
        print("old:", error, flush=True)
    try:
        Device()
    except CrwedgeError as error:
        print("new:", error, flush=True)
    os._exit(0)
os.wait()
device.allocate(8)
print("parent goes on")
"""
    old, new, parent = run(script, fake).splitlines()
    assert old.startswith("old: cannot use the GPU: this process was forked after CUDA began")
    assert new.startswith("new: cannot start CUDA: this process was forked after CUDA began")
    assert parent == "parent goes on"


def test_pycuda_s_own_stack_of_contexts_is_left_empty(fake: Path) -> None:
    # A fake of PyCUDA: it aborts the process when a thread ends with a context on its stack.
    script = """
import ctypes
from types import SimpleNamespace
from crwedge.runtime.backends.cuda.pycuda_driver import PyCuda
library = libcuda._library()
depth = [0]
class Error(Exception): pass
class OutOfMemory(Error): pass
class Block(int):
    def free(self): assert depth[0] == 1
class Context:
    def push(self): depth[0] += 1
    @staticmethod
    def pop(): depth[0] -= 1
def mem_alloc(size):
    assert depth[0] == 1
    if size > 1 << 20: raise OutOfMemory("cuMemAlloc failed: out of memory")
    address = ctypes.c_void_p()
    library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
    return Block(address.value)
def launch(argument, grid, block, shared, stream):
    assert depth[0] == 1 and isinstance(argument, np.void) and stream.handle == 2
    launched.append((argument.tobytes(), grid, block, shared))
launched = []
pycuda = SimpleNamespace(
    init=lambda: None, Error=Error, MemoryError=OutOfMemory, Context=Context, mem_alloc=mem_alloc,
    Device=lambda number: SimpleNamespace(retain_primary_context=Context),
    Stream=lambda: SimpleNamespace(handle=2), pagelocked_empty=np.empty,
)
device = PyCuda(cuda=pycuda)
address = device.allocate(64)
host_side = device.pinned((8,), np.float64)
host_side[:] = np.arange(8)
back = np.zeros(8)
stream = device.stream()
device.upload(address, host_side, stream)
device.download(back, address, stream)
assert (back == host_side).all()
class Params(ctypes.Structure): _fields_ = (("a", ctypes.c_uint64), ("b", ctypes.c_int))
device.launch(launch, (3, 4), 32, 16, Params(7, 9), stream)
assert launched == [(bytes(Params(7, 9)), (3, 4, 1), (32, 1, 1), 16)]
device.free(address)
try: device.allocate(2 << 20)
except CrwedgeError as error: print(error, error.lost)
# PyCUDA frees pinned memory with its last reference, while the device may still write to it: so we hold one.
import gc, weakref
held = weakref.ref(host_side)
del host_side
gc.collect()
assert held() is not None
device.unpin(held())
gc.collect()
assert held() is None
os.environ["FAKE_CUDA"] = "cuCtxSynchronize:719"
try: device.allocate(2 << 20)
except CrwedgeError as error: print(error, error.lost)
del os.environ["FAKE_CUDA"]
device.close()
print("depth", depth[0])
"""
    printed = run(script, fake).splitlines()
    assert printed[0].startswith("cannot take 2.1 MB of device memory: out of device memory; use a smaller --size")
    assert printed[0].endswith(" False")
    assert printed[1].startswith("cannot take 2.1 MB of device memory: a kernel failed and the device is lost")
    assert printed[2] == "depth 0"
