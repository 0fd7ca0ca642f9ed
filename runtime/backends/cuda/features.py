"""Features that stay on the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.driver import Driver


@dataclass(frozen=True)
class Encoding:
    """The encoder's work on one frame, which may be recorded in a graph together with what follows it."""

    key: Hashable
    """Another one where a graph recorded before would not do the same: other addresses, sizes or weights."""
    queue: Callable[[], None]
    """Queue it, or record it."""


@dataclass(eq=False)
class DeviceFeatures:
    """Features of one frame in device memory, until the engine runs again."""

    driver: Driver
    address: int
    """(C, h, w) float32, unit length over C."""
    shape: tuple[int, int, int]
    stream: int
    encoding: Encoding | None = None
    """What computes them, as long as it is not queued."""

    def ready(self) -> None:
        """Queue their computation if it is not queued yet."""
        encoding, self.encoding = self.encoding, None
        if encoding is not None:
            encoding.queue()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        """A copy on the host."""
        self.ready()
        host = np.empty(self.shape, np.float32)
        self.driver.download(host, self.address, self.stream)
        self.driver.synchronise(self.stream)
        return host if dtype is None else host.astype(dtype)
