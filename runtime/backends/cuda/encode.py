"""What the engines on a device share: a frame goes up once, its features stay there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Manifest
from crwedge.core.errors import SourceError
from crwedge.core.images import grid_size
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.kernels import Kernels
from crwedge.runtime.backends.cuda.memory import DeviceMemory
from crwedge.runtime.propagation.view import Size, View

Enqueue = Callable[[int, Size, int], None]
"""Queue the encoder: address of RGB uint8 (1, H, W, 3), its (H, W), address for float32 (1, C, h, w)."""


@dataclass(frozen=True)
class EncoderOutput:
    """Features of one frame in device memory, until the engine runs again."""

    address: int
    """(C, h, w) float32, unit length over C."""
    shape: tuple[int, int, int]


class DeviceEncoder:
    """Brings frames to the encoder's input and keeps its output, both on the device.

    Args:
        driver: the device.
        manifest: of the bundle.
        enqueue: queues the encoder.
        stream: what everything runs on.
    """

    def __init__(self, driver: Driver, manifest: Manifest, enqueue: Enqueue, stream: int) -> None:
        self.driver, self.stream = driver, stream
        self._manifest, self._enqueue = manifest, enqueue
        self._memory = DeviceMemory(driver, stream)
        self._kernels = Kernels(self._memory)

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (C, h, w) of a whole frame, on the host."""
        output = self.run_resident(frame, View.whole((frame.shape[0], frame.shape[1])))
        features = np.empty(output.shape, np.float32)
        self.driver.download(features, output.address, self.stream)
        return features

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        """See `DeviceEngine.run_resident`."""
        size, fixed = view.pixel_size, self._manifest.size
        if fixed is not None and size != fixed:
            raise SourceError(
                f"this bundle takes frames of {fixed[0]}x{fixed[1]} (HxW) only, not {size[0]}x{size[1]}; "
                f"set the size {fixed[0]}x{fixed[1]}"
            )
        pixels = self._memory.scratch("frame", frame.nbytes)
        self.driver.upload(pixels, frame, self.stream)
        if frame.shape[:2] != view.size or not view.covers_frame:
            source, pixels = pixels, self._memory.scratch("pixels", size[0] * size[1] * 3)
            self._kernels.resize(source, (frame.shape[0], frame.shape[1]), pixels, view)
        shape = self._manifest.channels, *grid_size(*size, self._manifest.stride)
        features = self._memory.scratch("features", 4 * shape[0] * shape[1] * shape[2])
        self._enqueue(pixels, size, features)
        return EncoderOutput(features, shape)

    def close(self) -> None:
        """Give the device memory back."""
        self._memory.close()
