"""The driver seam: what the device code asks of a machine. Addresses and streams are plain numbers."""

from __future__ import annotations

from ctypes import Structure
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

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

    @property
    def architecture(self) -> str:
        """The compiler's name of the exact device."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


class Driver(Protocol):
    """Memory, streams, events and kernels of one device.

    Kernels, `copy` and `fill` are queued on a stream. Copies from and to the host wait for what was queued there before.
    """

    facts: DeviceFacts

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory."""
        ...

    def free(self, address: int) -> None:
        """Give memory back; nothing that is queued may use it any more."""
        ...

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        """Host to device. Afterwards `source` may change."""
        ...

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        """Device to host. Afterwards `target` is complete."""
        ...

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Device to device."""
        ...

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """Set `size` bytes to `value`."""
        ...

    def stream(self) -> int:
        """A new queue."""
        ...

    def synchronise(self, stream: int) -> None:
        """Wait until a stream has done everything; errors of its kernels are raised here."""
        ...

    def event(self) -> int:
        """A point in a stream, for timing."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Put the event at the end of what is queued."""
        ...

    def elapsed_ms(self, first: int, last: int) -> float:
        """Milliseconds between two events, after waiting for the last one."""
        ...

    def load(self, source: str, variant: Variant) -> Any:
        """The kernels of a .cu file, compiled for this device."""
        ...

    def kernel(self, module: Any, name: str) -> Any:
        """A kernel, which may use all the shared memory that a block may ask for."""
        ...

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """Queue a kernel."""
        ...

    def retain(self) -> Driver:
        """The same driver for one more owner, which calls `close` too."""
        ...

    def close(self) -> None:
        """One owner has finished; the last one gives everything back."""
        ...
