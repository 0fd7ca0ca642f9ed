"""The driver seam: the few things the device code asks of a machine. Addresses and streams are plain numbers."""

from __future__ import annotations

from ctypes import Structure
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.errors import quiet_when_lost
from crwedge.runtime.backends.cuda.source import Variant


@dataclass(frozen=True)
class DeviceFacts:
    """What must be known of a device to cut up the work and to name results."""

    name: str
    capability: tuple[int, int]
    processors: int
    """Multiprocessors."""
    shared_bytes: int
    """The most shared memory a block may ask for."""
    memory_bytes: int
    driver: str
    """Version of the CUDA driver, or what stands in for it."""
    integrated: bool = False
    """Whether device and host share their memory, as on Jetson."""

    @property
    def architecture(self) -> str:
        """The compiler's name of the exact device."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


class Driver(Protocol):
    """Memory, streams, events, kernels and graphs of one device. Everything with a stream only queues."""

    facts: DeviceFacts

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory."""
        ...

    def free(self, address: int) -> None:
        """Give memory back."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A host array that the device copies from and to without a detour. Lives until `unpin` or `close`."""
        ...

    def unpin(self, array: NDArray[Any]) -> None:
        """Give an array of `pinned` back; nothing on the device may read or write it any more."""
        ...

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """Host to device; `source` must stay untouched until the stream has passed."""
        ...

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """Device to host; `target` is whole after `synchronise`."""
        ...

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Device to device."""
        ...

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """Set `size` bytes to `value`."""
        ...

    def stream(self) -> int:
        """A queue of its own."""
        ...

    def synchronise(self, stream: int) -> None:
        """Wait until a stream has done everything; errors of its kernels are raised here."""
        ...

    def event(self) -> int:
        """A point in a stream."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Put the event at the end of what is queued."""
        ...

    def wait(self, stream: int, event: int) -> None:
        """Let a stream wait for an event of another."""
        ...

    def await_event(self, event: int) -> None:
        """Let the host wait until an event has passed; at once where it was never recorded."""
        ...

    def elapsed_ms(self, first: int, last: int) -> float:
        """Milliseconds between two events that have passed."""
        ...

    def load(self, source: str, variant: Variant) -> Any:
        """The kernels of a .cu file, compiled for this device."""
        ...

    def kernel(self, module: Any, name: str, shared: int) -> Any:
        """A kernel that may use `shared` bytes of shared memory."""
        ...

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """Queue a kernel."""
        ...

    def begin_capture(self, stream: int) -> None:
        """From here on the stream records instead of running. What is recorded may copy from and to pinned memory only."""
        ...

    def end_capture(self, stream: int) -> int:
        """A graph of what was recorded. Whether or not this fails, the stream runs again."""
        ...

    def abandon_capture(self, stream: int) -> None:
        """Throw away what was recorded; the stream runs again."""
        ...

    def launch_graph(self, graph: int, stream: int) -> None:
        """Queue everything that was recorded."""
        ...

    def free_graph(self, graph: int) -> None:
        """Give a graph back that is not running any more."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Arena:
    """Device memory of one owner, by name, given back together."""

    def __init__(self, driver: Driver, stream: int | None = None) -> None:
        """Nothing is taken yet; before anything is given back, what is queued on `stream` has to be through."""
        self.driver = driver
        self.version = 0
        """Another number whenever an address has changed."""
        self._stream = stream
        self._blocks: dict[str, tuple[int, int]] = {}

    def __call__(self, name: str, size: int) -> int:
        """The address of the block `name`, made larger when `size` has grown; what it held is then gone."""
        address, have = self._blocks.get(name, (0, 0))
        if size > have:
            self.version += 1
            if address:
                self._settle()
                self.driver.free(address)
                del self._blocks[name]
            address = self.driver.allocate(size)
            self._blocks[name] = address, size
        return address

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(size for _, size in self._blocks.values())

    def clear(self) -> None:
        """Give all blocks back."""
        blocks, self._blocks = self._blocks, {}
        self.version += 1
        if blocks:
            with quiet_when_lost():
                self._settle()
        for address, _ in blocks.values():
            with quiet_when_lost():
                self.driver.free(address)

    def _settle(self) -> None:
        if self._stream is not None:
            self.driver.synchronise(self._stream)


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A contiguous array as flat bytes, without a copy."""
    return array.reshape(-1).view(np.uint8)
