"""The NVIDIA driver itself, through ctypes: nothing but libcuda.so.1 is needed, and it is loaded when first used.

The primary context is taken, so that ONNX Runtime, TensorRT, PyCUDA and we share one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from ctypes import Structure, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.compiler import compile_cubin
from crwedge.runtime.backends.cuda.driver import DeviceFacts
from crwedge.runtime.backends.cuda.errors import FORKED, NO_DRIVER, DeviceError, device_error, quiet_when_lost
from crwedge.runtime.backends.cuda.source import Variant

OLDEST_DRIVER = 12000
"""CUDA 12.0: graphs as they are used here, and JetPack 6 (12.6)."""
_PROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_INTEGRATED, _MAJOR, _MINOR, _SHARED_OPTIN = 18, 75, 76, 97
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_RELAXED = 2
"""CU_STREAM_CAPTURE_MODE_RELAXED: what other threads do meanwhile, and kernels that are loaded late, spoil no recording."""

_began_in: int | None = None
"""The process in which CUDA began."""


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(os.environ.get("CRWEDGE_LIBCUDA", "libcuda.so.1"))
    except OSError as error:
        raise DeviceError(NO_DRIVER) from error


def missing() -> str | None:
    """Why the NVIDIA driver cannot be loaded, or None when it can."""
    try:
        _library()
    except DeviceError as error:
        return str(error)
    return None


def call(name: str, doing: str, *arguments: Any) -> None:
    """Call the driver; anything but success is a DeviceError of one line."""
    if _began_in is not None and _began_in != os.getpid():
        raise DeviceError(f"cannot {doing}: {FORKED}")
    library = _library()
    try:
        function = getattr(library, name)
    except AttributeError as error:
        raise DeviceError(
            f"cannot {doing}: the NVIDIA driver is too old (it has no {name}); update the driver"
        ) from error
    if result := function(*arguments):
        text = c_char_p()
        library.cuGetErrorName(result, byref(text))
        raise device_error(result, doing, (text.value or b"").decode())


def begin() -> int:
    """Start CUDA in this process; returns the driver's version, such as 13000. DeviceError when it cannot be used."""
    global _began_in
    call("cuInit", "start CUDA", 0)
    _began_in = os.getpid()
    version = c_int()
    call("cuDriverGetVersion", "ask for the driver's version", byref(version))
    if version.value < OLDEST_DRIVER:
        raise DeviceError(
            f"the NVIDIA driver is too old: it knows CUDA {_dotted(version.value)} and needs {_dotted(OLDEST_DRIVER)}; "
            "update the driver"
        )
    return version.value


def bus_id(device: int = 0) -> str:
    """Where a GPU is on the PCI bus, by which other libraries of NVIDIA know it too."""
    begin()
    handle, text = c_int(), ctypes.create_string_buffer(32)
    call("cuDeviceGet", f"open GPU {device}", byref(handle), device)
    call("cuDeviceGetPCIBusId", "ask where the GPU is", text, len(text), handle)
    return text.value.decode()


class LibCuda:
    """One device, behind the driver seam."""

    def __init__(self, device: int = 0) -> None:
        """Take the device's primary context."""
        version = begin()
        handle = c_int()
        call("cuDeviceGet", f"open GPU {device}", byref(handle), device)
        self._device = handle
        self._context = c_void_p()
        call("cuDevicePrimaryCtxRetain", f"open GPU {device}", byref(self._context), handle)
        self._blocks: set[int] = set()
        self._pinned: set[int] = set()
        self._graphs: set[int] = set()
        self._streams: list[int] = []
        self._modules: dict[tuple[str, Variant], Any] = {}
        # What has to be destroyed at the end: the call, and the handle.
        self._made: list[tuple[str, int]] = []
        self._current()
        self.facts = self._facts(version)

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`."""
        self._current()
        address = c_void_p()
        call("cuMemAlloc_v2", f"take {size / 1e6:.1f} MB of device memory", byref(address), c_size_t(size))
        self._blocks.add(address.value or 0)
        return address.value or 0

    def free(self, address: int) -> None:
        """See `Driver.free`."""
        self._current()
        self._blocks.discard(address)
        call("cuMemFree_v2", "give device memory back", c_void_p(address))

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """See `Driver.pinned`."""
        self._current()
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = c_void_p()
        call("cuMemAllocHost_v2", f"take {size / 1e6:.1f} MB of pinned memory", byref(address), c_size_t(max(size, 1)))
        self._pinned.add(address.value or 0)
        room = (ctypes.c_ubyte * size).from_address(address.value or 0)
        host: NDArray[Any] = np.frombuffer(room, np.uint8, size).view(dtype).reshape(shape)
        return host

    def unpin(self, array: NDArray[Any]) -> None:
        """See `Driver.unpin`."""
        self._current()
        address = array.ctypes.data
        self._pinned.remove(address)
        call("cuMemFreeHost", "give pinned memory back", c_void_p(address))

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """See `Driver.upload`."""
        self._current()
        pointer, size = c_void_p(source.ctypes.data), c_size_t(source.nbytes)
        call("cuMemcpyHtoDAsync_v2", "copy to the device", c_void_p(address), pointer, size, c_void_p(stream))

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """See `Driver.download`."""
        self._current()
        pointer, size = c_void_p(target.ctypes.data), c_size_t(target.nbytes)
        call("cuMemcpyDtoHAsync_v2", "copy from the device", pointer, c_void_p(address), size, c_void_p(stream))

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """See `Driver.copy`."""
        self._current()
        call(
            "cuMemcpyDtoDAsync_v2",
            "copy on the device",
            c_void_p(target),
            c_void_p(source),
            c_size_t(size),
            c_void_p(stream),
        )

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """See `Driver.fill`."""
        self._current()
        call("cuMemsetD8Async", "set device memory", c_void_p(address), c_uint(value), c_size_t(size), c_void_p(stream))

    def stream(self) -> int:
        """See `Driver.stream`."""
        self._current()
        stream = c_void_p()
        call("cuStreamCreate", "make a stream", byref(stream), c_uint(1))
        self._made.append(("cuStreamDestroy_v2", stream.value or 0))
        self._streams.append(stream.value or 0)
        return stream.value or 0

    def synchronise(self, stream: int) -> None:
        """See `Driver.synchronise`."""
        self._current()
        call("cuStreamSynchronize", "finish the work on the device", c_void_p(stream))

    def event(self) -> int:
        """See `Driver.event`."""
        self._current()
        event = c_void_p()
        call("cuEventCreate", "make an event", byref(event), c_uint(0))
        self._made.append(("cuEventDestroy_v2", event.value or 0))
        return event.value or 0

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        self._current()
        call("cuEventRecord", "record an event", c_void_p(event), c_void_p(stream))

    def wait(self, stream: int, event: int) -> None:
        """See `Driver.wait`."""
        self._current()
        call("cuStreamWaitEvent", "wait for an event", c_void_p(stream), c_void_p(event), c_uint(0))

    def await_event(self, event: int) -> None:
        """See `Driver.await_event`."""
        self._current()
        call("cuEventSynchronize", "wait for an event", c_void_p(event))

    def elapsed_ms(self, first: int, last: int) -> float:
        """See `Driver.elapsed_ms`."""
        self.await_event(last)
        elapsed = c_float()
        call("cuEventElapsedTime", "read an event", byref(elapsed), c_void_p(first), c_void_p(last))
        return elapsed.value

    def load(self, source: str, variant: Variant) -> Any:
        """See `Driver.load`. Another tracker of this driver, or the same one after a reset, finds them loaded."""
        if (source, variant) not in self._modules:
            cubin = compile_cubin(source, self.facts.architecture, variant)
            self._modules[source, variant] = self.load_cubin(cubin)
        return self._modules[source, variant]

    def load_cubin(self, cubin: bytes) -> Any:
        """A module from compiled kernels."""
        self._current()
        module = c_void_p()
        call("cuModuleLoadData", "load the kernels", byref(module), cubin)
        self._made.append(("cuModuleUnload", module.value or 0))
        return module.value or 0

    def kernel(self, module: int, name: str, shared: int) -> int:
        """See `Driver.kernel`."""
        self._current()
        function = c_void_p()
        call("cuModuleGetFunction", f"find the kernel {name}", byref(function), c_void_p(module), name.encode())
        call(
            "cuFuncSetAttribute", f"give {name} {shared} bytes of shared memory", function, _MAX_DYNAMIC_SHARED, shared
        )
        return function.value or 0

    def launch(
        self, kernel: int, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`."""
        self._current()
        pointers = (c_void_p * 1)(ctypes.addressof(params))
        sizes = (c_uint(grid[0]), c_uint(grid[1]), c_uint(1), c_uint(threads), c_uint(1), c_uint(1), c_uint(shared))
        call("cuLaunchKernel", "start a kernel", c_void_p(kernel), *sizes, c_void_p(stream), pointers, None)

    def begin_capture(self, stream: int) -> None:
        """See `Driver.begin_capture`."""
        self._current()
        call("cuStreamBeginCapture_v2", "record a graph", c_void_p(stream), c_uint(_RELAXED))

    def end_capture(self, stream: int) -> int:
        """See `Driver.end_capture`."""
        self._current()
        graph, runnable = c_void_p(), c_void_p()
        call("cuStreamEndCapture", "record a graph", c_void_p(stream), byref(graph))
        try:
            call("cuGraphInstantiateWithFlags", "make a graph", byref(runnable), graph, ctypes.c_ulonglong(0))
        finally:
            call("cuGraphDestroy", "make a graph", graph)
        self._graphs.add(runnable.value or 0)
        return runnable.value or 0

    def abandon_capture(self, stream: int) -> None:
        """See `Driver.abandon_capture`."""
        self._current()
        graph = c_void_p()
        # A recording that was spoilt is ended by this call too, which says so and gives no graph.
        with contextlib.suppress(DeviceError):
            call("cuStreamEndCapture", "record a graph", c_void_p(stream), byref(graph))
        if graph.value:
            call("cuGraphDestroy", "give a graph back", graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        """See `Driver.launch_graph`."""
        self._current()
        call("cuGraphLaunch", "start a graph", c_void_p(graph), c_void_p(stream))

    def free_graph(self, graph: int) -> None:
        """See `Driver.free_graph`."""
        self._current()
        self._graphs.remove(graph)
        call("cuGraphExecDestroy", "give a graph back", c_void_p(graph))

    def close(self) -> None:
        """See `Driver.close`."""
        if self._context.value is None:
            return
        self._current()
        self._finish()
        given_back = [("cuGraphExecDestroy", graph) for graph in sorted(self._graphs)]
        given_back += [("cuMemFree_v2", address) for address in sorted(self._blocks)]
        given_back += [("cuMemFreeHost", address) for address in sorted(self._pinned)]
        for name, handle in (*given_back, *reversed(self._made)):
            # A lost device takes nothing back but its context, with everything in it.
            with quiet_when_lost():
                call(name, "close the GPU", c_void_p(handle))
        for kept in (self._graphs, self._blocks, self._pinned, self._made, self._modules, self._streams):
            kept.clear()
        self._context = c_void_p()
        call("cuDevicePrimaryCtxRelease_v2", "close the GPU", self._device)

    def _finish(self) -> None:
        """Wait for our own streams: what is queued there may still read and write the memory that goes back."""
        for stream in self._streams:
            with quiet_when_lost():
                self.synchronise(stream)

    def _current(self) -> None:
        # Frames may come from any thread, and a context belongs to the thread that made it current.
        if self._context.value is None:
            raise DeviceError("this device was closed; open a new tracker")
        call("cuCtxSetCurrent", "use the GPU", self._context)

    def _facts(self, version: int) -> DeviceFacts:
        name = ctypes.create_string_buffer(256)
        call("cuDeviceGetName", "ask the GPU's name", name, 256, self._device)
        memory = c_size_t()
        call("cuDeviceTotalMem_v2", "ask the GPU's memory", byref(memory), self._device)

        def attribute(number: int) -> int:
            value = c_int()
            call("cuDeviceGetAttribute", "ask what the GPU can do", byref(value), number, self._device)
            return value.value

        return DeviceFacts(
            name=name.value.decode(errors="replace"),
            capability=(attribute(_MAJOR), attribute(_MINOR)),
            processors=attribute(_PROCESSORS),
            shared_bytes=attribute(_SHARED_OPTIN),
            memory_bytes=memory.value,
            driver=_dotted(version),
            integrated=bool(attribute(_INTEGRATED)),
        )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
