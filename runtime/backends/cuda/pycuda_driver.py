"""PyCUDA behind the driver seam: memory, streams, events and launches are its own.

Graphs are recorded through the NVIDIA driver itself, which shares the primary context: PyCUDA has no names for them.
"""

from __future__ import annotations

from ctypes import Structure
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.optional import import_optional
from crwedge.runtime.backends.cuda.errors import NO_DRIVER, DeviceError
from crwedge.runtime.backends.cuda.libcuda import LibCuda, begin, call


def load_pycuda() -> Any:
    """`pycuda.driver`, imported late: it needs libcuda.so.1 already when it is imported."""
    begin()
    try:
        return import_optional("pycuda.driver", extra="gpu")
    except ImportError as error:
        raise DeviceError(NO_DRIVER if "libcuda" in str(error) else f"PyCUDA cannot be loaded: {error}") from error


class PyCuda(LibCuda):
    """One device, through PyCUDA."""

    def __init__(self, device: int = 0, cuda: Any = None) -> None:
        """Take the device's primary context; `cuda` stands for `pycuda.driver` in tests."""
        self._cuda = cuda or load_pycuda()
        self._cuda.init()
        self._shared_context = self._cuda.Device(device).retain_primary_context()
        self._owned: dict[int, Any] = {}
        self._locked: dict[int, NDArray[Any]] = {}
        self._kept: list[Any] = []
        super().__init__(device)

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`."""
        self._current()
        with self._pushed(f"take {size / 1e6:.1f} MB of device memory"):
            block = self._cuda.mem_alloc(size)
        self._owned[int(block)] = block
        return int(block)

    def free(self, address: int) -> None:
        """See `Driver.free`."""
        self._current()
        with self._pushed("give device memory back"):
            self._owned.pop(address).free()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """See `Driver.pinned`."""
        self._current()
        with self._pushed("take pinned memory"):
            host: NDArray[Any] = self._cuda.pagelocked_empty(shape, dtype)
        # PyCUDA frees it with the last reference, and the device knows of none.
        self._locked[host.ctypes.data] = host
        return host

    def unpin(self, array: NDArray[Any]) -> None:
        """See `Driver.unpin`."""
        self._current()
        with self._pushed("give pinned memory back"):
            del self._locked[array.ctypes.data]

    def stream(self) -> int:
        """See `Driver.stream`."""
        self._current()
        with self._pushed("make a stream"):
            self._streams.append(self._keep(self._cuda.Stream()))
        return self._streams[-1]

    def load_cubin(self, cubin: bytes) -> Any:
        """A module from compiled kernels."""
        self._current()
        with self._pushed("load the kernels"):
            return self._cuda.module_from_buffer(cubin)

    def kernel(self, module: Any, name: str, shared: int) -> Any:
        """See `Driver.kernel`."""
        self._current()
        with self._pushed(f"give {name} {shared} bytes of shared memory"):
            function = module.get_function(name)
            function.set_attribute(self._cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        return function

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`."""
        self._current()
        raw = bytes(params)
        argument = np.frombuffer(raw, np.dtype((np.void, len(raw))))[0]
        with self._pushed("start a kernel"):
            kernel(argument, grid=(*grid, 1), block=(threads, 1, 1), shared=shared, stream=self._stream_of(stream))

    def close(self) -> None:
        """See `Driver.close`."""
        if self._context.value is not None:
            self._current()
            self._finish()
            with self._pushed("close the GPU"):
                self._owned.clear()
                self._locked.clear()
                self._modules.clear()
                self._kept.clear()
        super().close()

    def _keep(self, thing: Any) -> int:
        self._kept.append(thing)
        return int(thing.handle)

    def _stream_of(self, handle: int) -> Any:
        return next((thing for thing in self._kept if thing.handle == handle), None)

    def _pushed(self, doing: str) -> _Pushed:
        return _Pushed(self._cuda, self._shared_context, doing)


def _lost(doing: str) -> DeviceError | None:
    """The error that lost the device, if one has: PyCUDA's own tell no number, but the driver repeats it at every call."""
    try:
        call("cuCtxSynchronize", doing)
    except DeviceError as error:
        return error if error.lost else None
    return None


class _Pushed:
    """The context stands on PyCUDA's own stack while it is called, and its errors become one line.

    The stack is of one thread and has to be empty when the thread ends, or PyCUDA aborts the process: so nothing stays there.
    """

    def __init__(self, cuda: Any, context: Any, doing: str) -> None:
        self._cuda, self._context, self._doing = cuda, context, doing

    def __enter__(self) -> None:
        self._context.push()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        lost = _lost(self._doing) if isinstance(value, self._cuda.Error) else None
        self._cuda.Context.pop()
        if lost is not None:
            raise lost from value
        if isinstance(value, self._cuda.MemoryError):
            from crwedge.runtime.backends.cuda.errors import device_error

            raise device_error(2, self._doing) from value
        if isinstance(value, self._cuda.Error):
            raise DeviceError(f"cannot {self._doing}: {str(value).splitlines()[0]}") from value
