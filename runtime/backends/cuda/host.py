"""The plain kernels on the CPU, behind the driver seam: how the device code is tested and tried where there is no GPU.

It is slow and proves results, never speed. Streams run at once, so events measure the host's clock.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from ctypes import Structure
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.compiler import keep, kernel_cache
from crwedge.runtime.backends.cuda.driver import DeviceFacts
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
    kept = kernel_cache() / f"{Path(name).stem}-host-{stamp}.so"
    if kept.is_file():
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        done = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise DeviceError(f"g++ cannot compile {name}: {done.stderr.strip()[:2000]}")
        keep(kept, library.read_bytes())
        return ctypes.CDLL(str(kept if kept.is_file() else library))


class HostDriver:
    """A CPU that stands where a device would."""

    def __init__(self, options: tuple[str, ...] = (), memory_bytes: int = 4 << 30) -> None:
        """`options` go to the compiler of attention.cu; `memory_bytes` is where "out of memory" begins."""
        self.facts = DeviceFacts("CPU, plain kernels", (0, 0), 2, 1 << 20, memory_bytes, "none")
        self.launches: list[str] = []
        """Names of the kernels that ran, and "graph" before those of each graph."""
        self._options = options
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._pinned: dict[int, NDArray[Any]] = {}
        self._events: list[float] = [0.0]
        self._graphs: dict[int, list[tuple[Any, ...]]] = {}
        self._captures = 0
        self._recording: list[tuple[Any, ...]] | None = None

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`. What is not written yet is NaN in every format."""
        self._refuse_in_graph("take memory")
        if size + sum(block.nbytes for block in self._memory.values()) > self.facts.memory_bytes:
            raise device_error(2, f"take {size} bytes")
        block = np.full(size + 256, 0xFF, np.uint8)
        address = -(-block.ctypes.data // 256) * 256
        self._memory[address] = block
        return address

    def free(self, address: int) -> None:
        """See `Driver.free`."""
        self._refuse_in_graph("give memory back")
        del self._memory[address]

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """See `Driver.pinned`."""
        self._refuse_in_graph("take pinned memory")
        array = np.zeros(shape, dtype)
        self._pinned[array.ctypes.data] = array
        return array

    def unpin(self, array: NDArray[Any]) -> None:
        """See `Driver.unpin`. What it held is overwritten, so that a use of it shows."""
        del self._pinned[array.ctypes.data]
        array.reshape(-1).view(np.uint8)[:] = 0xFF

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """See `Driver.upload`."""
        self._refuse_unpinned_in_graph(source)
        self._do(ctypes.memmove, address, source.ctypes.data, source.nbytes, keep=source)

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """See `Driver.download`."""
        self._refuse_unpinned_in_graph(target)
        self._do(ctypes.memmove, target.ctypes.data, address, target.nbytes, keep=target)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """See `Driver.copy`."""
        self._do(ctypes.memmove, target, source, size)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """See `Driver.fill`."""
        self._do(ctypes.memset, address, value, size)

    def stream(self) -> int:
        """See `Driver.stream`."""
        return 1

    def synchronise(self, stream: int) -> None:
        """See `Driver.synchronise`."""
        self._refuse_in_graph("wait")

    def event(self) -> int:
        """See `Driver.event`."""
        self._events.append(0.0)
        return len(self._events) - 1

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        self._refuse_in_graph("record an event")
        self._events[event] = time.perf_counter()

    def wait(self, stream: int, event: int) -> None:
        """See `Driver.wait`."""
        self._refuse_in_graph("wait for an event of another stream")

    def await_event(self, event: int) -> None:
        """See `Driver.await_event`."""
        self._refuse_in_graph("wait")

    def elapsed_ms(self, first: int, last: int) -> float:
        """See `Driver.elapsed_ms`."""
        return 1e3 * (self._events[last] - self._events[first])

    def load(self, source: str, variant: Variant) -> ctypes.CDLL:
        """See `Driver.load`."""
        return build(source, variant, self._options if source == "attention.cu" else ())

    def kernel(self, module: ctypes.CDLL, name: str, shared: int) -> Any:
        """See `Driver.kernel`."""
        function = getattr(module, name)
        function.restype = None
        return function

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`."""
        self._do(self._run, kernel, grid, threads, shared, type(params).from_buffer_copy(params))

    def _run(self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure) -> None:
        self.launches.append(kernel.__name__)
        room = np.full(shared + 1024, 0xFF, np.uint8)
        start = -(-room.ctypes.data // 128) * 128
        # What lies behind the block's shared memory must stay as it is.
        behind = room[start - room.ctypes.data + shared :]
        kernel((ctypes.c_int * 3)(*grid, 1), ctypes.c_int(threads), ctypes.c_void_p(start), ctypes.byref(params))
        if not (behind == 0xFF).all():
            raise DeviceError(f"the kernel {kernel.__name__} wrote behind its {shared} bytes of shared memory")

    def begin_capture(self, stream: int) -> None:
        """See `Driver.begin_capture`."""
        self._recording = []

    def end_capture(self, stream: int) -> int:
        """See `Driver.end_capture`."""
        recorded, self._recording = self._recording, None
        assert recorded is not None
        self._captures += 1
        self._graphs[self._captures] = recorded
        return self._captures

    def abandon_capture(self, stream: int) -> None:
        """See `Driver.abandon_capture`."""
        self._recording = None

    def launch_graph(self, graph: int, stream: int) -> None:
        """See `Driver.launch_graph`."""
        self.launches.append("graph")
        for function, arguments, _ in self._graphs[graph]:
            self._do(function, *arguments)

    def free_graph(self, graph: int) -> None:
        """See `Driver.free_graph`."""
        del self._graphs[graph]

    def call(self, function: Callable[[], None], stream: int) -> None:
        """Queue a function of the host: stands for the kernels of a library."""
        self._do(function)

    def close(self) -> None:
        """See `Driver.close`."""
        self._memory.clear()
        self._pinned.clear()
        self._graphs.clear()

    def _do(self, function: Any, *arguments: Any, keep: Any = None) -> None:
        if self._recording is not None:
            self._recording.append((function, arguments, keep))
        else:
            function(*arguments)

    def _refuse_in_graph(self, doing: str) -> None:
        # A real driver refuses some of these; all of them would be missing from what is launched later.
        if self._recording is not None:
            raise device_error(900, f"{doing} while a graph is recorded", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    def _refuse_unpinned_in_graph(self, array: NDArray[Any]) -> None:
        if array.ctypes.data not in self._pinned:
            self._refuse_in_graph("copy from or to memory that is not pinned")
