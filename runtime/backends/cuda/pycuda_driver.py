"""PyCUDA behind the driver seam. It takes the primary context, which ONNX Runtime and TensorRT share."""

from __future__ import annotations

import contextlib
import os
from ctypes import Structure
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.optional import import_optional
from crwedge.runtime.backends.cuda import nvidia
from crwedge.runtime.backends.cuda.compiler import compile_cubin
from crwedge.runtime.backends.cuda.driver import DeviceFacts, Driver
from crwedge.runtime.backends.cuda.errors import FORKED, NO_DRIVER, DeviceError, device_error, quiet_when_lost
from crwedge.runtime.backends.cuda.source import Variant

OLDEST_DRIVER = 12000
"""CUDA 12.0; JetPack 6 has 12.6."""


def open_driver(device: int = 0) -> Driver:
    """A GPU by its number.

    Raises:
        DeviceError: one line that says why there is none.
        MissingExtraError: PyCUDA is not installed.
    """
    return PyCuda(device)


def _load_pycuda() -> Any:
    """`pycuda.driver`, imported late: it needs libcuda.so.1 already when it is imported."""
    if reason := nvidia.missing():
        raise DeviceError(reason)
    try:
        return import_optional("pycuda.driver", extra="gpu")
    except ImportError as error:
        raise DeviceError(NO_DRIVER if "libcuda" in str(error) else f"PyCUDA cannot be loaded: {error}") from error


class PyCuda:
    """One device.

    Args:
        device: its number.
        cuda: stands for `pycuda.driver` in tests.
    """

    def __init__(self, device: int = 0, cuda: Any = None) -> None:
        self._cuda = cuda or _load_pycuda()
        nvidia.start()
        self._cuda.init()
        self._process, self._owners = os.getpid(), 1
        self._blocks: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: list[Any] = []
        self._modules: dict[tuple[str, Variant], Any] = {}
        version = self._cuda.get_driver_version()
        if version < OLDEST_DRIVER:
            raise DeviceError(
                f"the NVIDIA driver is too old: it supports CUDA {_dotted(version)}, and CUDA "
                f"{_dotted(OLDEST_DRIVER)} is needed; update the driver"
            )
        try:
            handle = self._cuda.Device(device)
            self._context: Any = handle.retain_primary_context()
        except self._cuda.Error as error:
            raise DeviceError(f"cannot open GPU {device}: {_first_line(error)}") from error
        self.facts = self._facts(handle, _dotted(version))

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`."""
        with self._doing(f"take {size / 1e6:.1f} MB of device memory"):
            block = self._cuda.mem_alloc(size)
        self._blocks[int(block)] = block
        return int(block)

    def free(self, address: int) -> None:
        """See `Driver.free`."""
        with self._doing("give device memory back"):
            self._blocks.pop(address).free()

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """See `Driver.upload`."""
        with self._doing("copy to the device"):
            self._cuda.memcpy_htod_async(address, np.ascontiguousarray(source), self._streams[stream])
            self._streams[stream].synchronize()

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """See `Driver.download`."""
        with self._doing("copy from the device"):
            self._cuda.memcpy_dtoh_async(target, address, self._streams[stream])
            self._streams[stream].synchronize()

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """See `Driver.copy`."""
        with self._doing("copy on the device"):
            self._cuda.memcpy_dtod_async(target, source, size, self._streams[stream])

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """See `Driver.fill`."""
        with self._doing("set device memory"):
            self._cuda.memset_d8_async(address, value, size, self._streams[stream])

    def stream(self) -> int:
        """See `Driver.stream`."""
        with self._doing("make a stream"):
            stream = self._cuda.Stream()
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def synchronise(self, stream: int) -> None:
        """See `Driver.synchronise`."""
        with self._doing("finish the work on the device"):
            self._streams[stream].synchronize()

    def event(self) -> int:
        """See `Driver.event`."""
        with self._doing("make an event"):
            self._events.append(self._cuda.Event())
        return len(self._events) - 1

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        with self._doing("record an event"):
            self._events[event].record(self._streams[stream])

    def elapsed_ms(self, first: int, last: int) -> float:
        """See `Driver.elapsed_ms`."""
        with self._doing("read an event"):
            self._events[last].synchronize()
            return float(self._events[first].time_till(self._events[last]))

    def load(self, source: str, variant: Variant) -> Any:
        """See `Driver.load`. Another tracker of this driver, or the same one after a reset, finds them loaded."""
        if (source, variant) not in self._modules:
            cubin = compile_cubin(source, self.facts.architecture, variant)
            self._modules[source, variant] = self.load_cubin(cubin)
        return self._modules[source, variant]

    def load_cubin(self, cubin: bytes) -> Any:
        """A module from compiled kernels."""
        with self._doing("load the kernels"):
            return self._cuda.module_from_buffer(cubin)

    def kernel(self, module: Any, name: str) -> Any:
        """See `Driver.kernel`."""
        with self._doing(f"find the kernel {name}"):
            function = module.get_function(name)
            # Of the function itself, whoever asks for it: so it is the same for all.
            limit = self._cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            function.set_attribute(limit, self.facts.shared_bytes)
        return function

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`."""
        raw = bytes(params)
        argument = np.frombuffer(raw, np.dtype((np.void, len(raw))))[0]
        with self._doing("start a kernel"):
            kernel(argument, grid=(*grid, 1), block=(threads, 1, 1), shared=shared, stream=self._streams[stream])

    def retain(self) -> PyCuda:
        """See `Driver.retain`."""
        self._owners += 1
        return self

    def close(self) -> None:
        """See `Driver.close`."""
        self._owners -= 1
        if self._owners or self._context is None:
            return
        # What is queued may still read and write the memory that goes back.
        for stream in list(self._streams):
            with quiet_when_lost():
                self.synchronise(stream)
        with quiet_when_lost(), self._doing("close the GPU"):
            for kept in (self._blocks, self._modules, self._events, self._streams):
                kept.clear()
        context, self._context = self._context, None
        with contextlib.suppress(self._cuda.Error):
            context.detach()

    def _doing(self, what: str) -> _Pushed:
        if self._process != os.getpid():
            raise DeviceError(f"cannot {what}: {FORKED}")
        if self._context is None:
            raise DeviceError("this device was closed; open a new tracker")
        return _Pushed(self._cuda, self._context, what)

    def _facts(self, handle: Any, version: str) -> DeviceFacts:
        names = self._cuda.device_attribute
        return DeviceFacts(
            name=handle.name(),
            capability=tuple(handle.compute_capability()),
            processors=handle.get_attribute(names.MULTIPROCESSOR_COUNT),
            shared_bytes=handle.get_attribute(names.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
            memory_bytes=handle.total_memory(),
            driver=version,
        )


class _Pushed:
    """The context stands on PyCUDA's own stack while it is called, and its errors become one line.

    The stack is of one thread and has to be empty when the thread ends, or PyCUDA aborts the process: so nothing stays there.
    """

    def __init__(self, cuda: Any, context: Any, doing: str) -> None:
        self._cuda, self._context, self._what = cuda, context, doing

    def __enter__(self) -> None:
        self._context.push()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        lost = nvidia.lost_device(self._what) if isinstance(value, self._cuda.Error) else None
        self._cuda.Context.pop()
        if lost is not None:
            raise lost from value
        if isinstance(value, self._cuda.MemoryError):
            raise device_error(2, self._what) from value
        if isinstance(value, self._cuda.Error):
            raise DeviceError(f"cannot {self._what}: {_first_line(value)}") from value


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
