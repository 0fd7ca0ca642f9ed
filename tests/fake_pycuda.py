"""A fake of `pycuda.driver` over the emulated driver: glue, error lines and the stack of contexts, no real device.

Like PyCUDA, it refuses to work while no context is current, and it keeps memory as long as something refers to it.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.emulated_cuda import EmulatedCuda


class FakePyCuda:
    """What `PyCuda` uses of the module; `failures` gives the text of the error that a call raises."""

    class Error(Exception):
        pass

    class MemoryError(Error):
        pass

    def __init__(self, version: int = 13000, memory_bytes: int = 1 << 30) -> None:
        self.device = EmulatedCuda(memory_bytes=memory_bytes)
        self.failures: dict[str, str] = {}
        self.depth = self.detached = 0
        self.Context = SimpleNamespace(pop=self._pop)
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT=2, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=1 << 20)
        self.function_attribute = SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")
        self.init = lambda: None
        self.get_driver_version = lambda: version

    def Device(self, number: int) -> Any:  # noqa: N802 - PyCUDA's own name
        self._fail("Device")
        context = SimpleNamespace(push=self._push, detach=self._detach)
        return SimpleNamespace(
            retain_primary_context=lambda: context, name=lambda: "Fake GPU", compute_capability=lambda: (7, 5),
            total_memory=lambda: 1 << 30, get_attribute=lambda value: value,
        )  # fmt: skip

    def mem_alloc(self, size: int) -> Any:
        self._called("mem_alloc")
        address, device, owner = self.device.allocate(size), self.device, self

        class Allocation(int):
            def free(self) -> None:
                owner._called("free")
                device.free(int(self))

        return Allocation(address)

    def memcpy_htod_async(self, address: int, source: Any, stream: Any) -> None:
        self._called("memcpy_htod_async")
        self.device.upload(address, source, stream.handle)

    def memcpy_dtoh_async(self, target: Any, address: int, stream: Any) -> None:
        self._called("memcpy_dtoh_async")
        self.device.download(target, address, stream.handle)

    def memcpy_dtod_async(self, target: int, source: int, size: int, stream: Any) -> None:
        self._called("memcpy_dtod_async")
        self.device.copy(target, source, size, stream.handle)

    def memset_d8_async(self, address: int, value: int, size: int, stream: Any) -> None:
        self._called("memset_d8_async")
        self.device.fill(address, value, size, stream.handle)

    def Stream(self) -> Any:  # noqa: N802
        self._called("Stream")
        return SimpleNamespace(handle=self.device.stream(), synchronize=lambda: self._called("synchronize"))

    def Event(self) -> Any:  # noqa: N802
        self._called("Event")
        return SimpleNamespace(record=lambda _: None, synchronize=lambda: None, time_till=lambda _: 1.5)

    def module_from_buffer(self, library: Any) -> Any:
        """Takes a library of `tests.emulated_cuda.build` for a cubin."""
        self._called("module_from_buffer")
        return SimpleNamespace(get_function=lambda name: self._function(library, name))

    def _function(self, library: Any, name: str) -> Any:
        run = self.device.kernel(library, name)

        def launch(argument: np.void, grid: tuple[int, ...], block: tuple[int, ...], shared: int, stream: Any) -> None:
            self._called("launch")
            raw = argument.tobytes()
            params = (ctypes.c_ubyte * len(raw)).from_buffer_copy(raw)
            self.device.launch(run, (grid[0], grid[1]), block[0], shared, params, stream.handle)  # type: ignore[arg-type]

        launch.set_attribute = lambda *_: self._called("set_attribute")  # type: ignore[attr-defined]
        return launch

    def _push(self) -> None:
        self.depth += 1

    def _pop(self) -> None:
        self.depth -= 1

    def _detach(self) -> None:
        self.detached += 1

    def _called(self, name: str) -> None:
        assert self.depth == 1, f"{name} without a current context"
        self._fail(name)

    def _fail(self, name: str) -> None:
        if text := self.failures.get(name):
            raise (self.MemoryError if "memory" in text and "illegal" not in text else self.Error)(text)
