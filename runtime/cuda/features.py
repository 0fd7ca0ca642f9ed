"""Features that stay on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.cuda.driver import Driver


@dataclass(frozen=True, eq=False)
class DeviceFeatures:
    """Features of one frame in device memory, until the engine runs again."""

    driver: Driver
    address: int
    """(C, h, w) float32, unit length over C."""
    shape: tuple[int, int, int]
    stream: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        """A copy on the host."""
        host = np.empty(self.shape, np.float32)
        self.driver.download(host, self.address, self.stream)
        self.driver.synchronise(self.stream)
        return host if dtype is None else host.astype(dtype)
