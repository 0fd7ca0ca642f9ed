"""An emulated CUDA driver: kernels compiled with g++ run on the CPU, so that the device code is tested without a GPU.

It is slow and proves results, never speed. What is queued runs at once, so events measure the host's clock.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import shutil
import subprocess
import tempfile
import time
from ctypes import Structure
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.compiler import keep, kernel_cache
from crwedge.runtime.backends.cuda.driver import DeviceFacts, Driver
from crwedge.runtime.backends.cuda.errors import DeviceError, device_error
from crwedge.runtime.backends.cuda.source import FOLDER, Variant, source_hash


@lru_cache(maxsize=32)
def build(name: str, variant: Variant, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile a .cu file with g++ and load it; DeviceError when there is no g++ or it refuses the source.

    The library is kept beside the kernels of real devices and used again.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise DeviceError("there is no C++ compiler (g++), which the plain kernels need on a CPU")
    command = [compiler, "-std=c++17", "-O3", "-shared", "-fPIC", "-DCRWEDGE_HOST", "-Wall", "-Wextra", "-Werror"]
    command += ["-Wno-unknown-pragmas", *variant.defines, *options, "-x", "c++", str(FOLDER / name)]
    stamp = hashlib.sha256(f"{source_hash()} {command}".encode()).hexdigest()[:24]
    kept = kernel_cache() / f"{Path(name).stem}-emulated-{stamp}.so"
    if kept.is_file():
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        done = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise DeviceError(f"g++ cannot compile {name}: {done.stderr.strip()[:2000]}")
        keep(kept, library.read_bytes())
        return ctypes.CDLL(str(kept if kept.is_file() else library))


FACTS = DeviceFacts("emulated", (0, 0), 2, 1 << 20, 4 << 30, "none")


class EmulatedCuda:
    """A CPU that stands where a device would.

    Args:
        options: for the compiler of attention.cu.
        memory_bytes: where "out of memory" begins.
    """

    def __init__(self, options: tuple[str, ...] = (), memory_bytes: int = FACTS.memory_bytes) -> None:
        self.facts = replace(FACTS, memory_bytes=memory_bytes)
        self.launches: list[str] = []
        """Names of the kernels that ran."""
        self.memory: dict[int, NDArray[np.uint8]] = {}
        """What is allocated, by its address."""
        self.owners = 1
        self._options = options
        self._streams = itertools.count(11)
        self._events: list[float] = []

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`. What is not written yet is NaN in every format."""
        if size + sum(block.nbytes for block in self.memory.values()) > self.facts.memory_bytes:
            raise device_error(2, f"take {size} bytes")
        block = np.full(size + 256, 0xFF, np.uint8)
        address = -(-block.ctypes.data // 256) * 256
        self.memory[address] = block
        return address

    def free(self, address: int) -> None:
        """See `Driver.free`. What was there is overwritten, so that a use of it shows."""
        if not self.owners:
            raise DeviceError("this device was closed; open a new tracker")
        self.memory.pop(address)[:] = 0xFF

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """See `Driver.upload`."""
        assert source.flags.c_contiguous
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """See `Driver.download`."""
        assert target.flags.c_contiguous
        ctypes.memmove(target.ctypes.data, address, target.nbytes)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """See `Driver.copy`."""
        ctypes.memmove(target, source, size)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """See `Driver.fill`."""
        ctypes.memset(address, value, size)

    def stream(self) -> int:
        """See `Driver.stream`."""
        return next(self._streams)

    def synchronise(self, stream: int) -> None:
        """See `Driver.synchronise`."""

    def event(self) -> int:
        """See `Driver.event`."""
        self._events.append(0.0)
        return len(self._events) - 1

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        self._events[event] = time.perf_counter()

    def elapsed_ms(self, first: int, last: int) -> float:
        """See `Driver.elapsed_ms`."""
        return 1e3 * (self._events[last] - self._events[first])

    def load(self, source: str, variant: Variant) -> ctypes.CDLL:
        """See `Driver.load`."""
        return build(source, variant, self._options if source == "attention.cu" else ())

    def kernel(self, module: ctypes.CDLL, name: str) -> Any:
        """See `Driver.kernel`."""
        function = getattr(module, name)
        function.restype = None
        return function

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`. What lies behind the block's shared memory must stay as it is."""
        self.launches.append(kernel.__name__)
        room = np.full(shared + 1024, 0xFF, np.uint8)
        start = -(-room.ctypes.data // 128) * 128
        behind = room[start - room.ctypes.data + shared :]
        kernel((ctypes.c_int * 3)(*grid, 1), ctypes.c_int(threads), ctypes.c_void_p(start), ctypes.byref(params))
        if not (behind == 0xFF).all():
            raise DeviceError(f"the kernel {kernel.__name__} wrote behind its {shared} bytes of shared memory")

    def retain(self) -> Driver:
        """See `Driver.retain`."""
        self.owners += 1
        return self

    def close(self) -> None:
        """See `Driver.close`."""
        self.owners -= 1
        assert self.owners >= 0, "closed more often than it was retained"
        if not self.owners:
            self.memory.clear()
