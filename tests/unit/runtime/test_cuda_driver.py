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

BEGIN = """
import os
import numpy as np
from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.cuda import host, libcuda
from crwedge.runtime.cuda.propagator import DevicePropagator
from crwedge.runtime.cuda.source import Variant
settings = PropagationSettings(context_length=2, topk=3, radius=2)
rng = np.random.default_rng(0)
features = rng.normal(size=(4, 8, 7, 9)).astype(np.float32)
soft = rng.dirichlet([1, 1], size=(7, 9)).transpose(2, 0, 1).astype(np.float32)
class Device(libcuda.LibCuda):
    "The fake takes a library's path for a cubin."
    def load(self, source, variant):
        return self.load_cubin(host.build(source, variant)._name.encode())
def follow(driver, steps=1, graph=False):
    propagator = DevicePropagator(driver, settings, variant=Variant(False, 8), graph=graph)
    propagator.pin(features[0], soft)
    return [propagator.propagate(features[i + 1]) for i in range(steps)]
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
    np.testing.assert_array_equal(a.propagate(features[i + 1]), want[i])
    np.testing.assert_array_equal(b.propagate(features[i + 1]), want[i])
a.clear(); first.close()
np.testing.assert_array_equal(b.propagate(features[1]), want[0])
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
    # The fake has no graphs, as a very old driver.
    assert "is too old (it has no cuStreamBeginCapture_v2)" in run("follow(Device(), graph=True)", fake)


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
from crwedge.runtime.cuda.pycuda_driver import PyCuda
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
except CrwedgeError as error: print(error)
device.close()
print("depth", depth[0])
"""
    printed = run(script, fake).splitlines()
    assert printed[0].startswith("cannot take 2.1 MB of device memory: out of device memory; use a smaller --size")
    assert printed[1] == "depth 0"
