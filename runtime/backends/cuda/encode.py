"""What the engines on a device share: a frame goes up once, its features stay there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Manifest
from crwedge.core.errors import SourceError
from crwedge.core.images import grid_size
from crwedge.runtime.backends.cuda.driver import Arena, Driver
from crwedge.runtime.backends.cuda.features import DeviceFeatures, Encoding
from crwedge.runtime.backends.cuda.frames import FrameStage, Pictures

Enqueue = Callable[[int, tuple[int, int], int], None]
"""Queue the encoder: address of RGB uint8 (1, H, W, 3), its (H, W), address for float32 (1, C, h, w)."""


class DeviceEncoder:
    """Brings frames to the encoder's input and keeps its output, both on the device."""

    def __init__(self, driver: Driver, manifest: Manifest, enqueue: Enqueue, stream: int) -> None:
        """`enqueue` is the back end's part; everything runs on `stream`."""
        self.driver, self.stream = driver, stream
        self._manifest, self._enqueue = manifest, enqueue
        self._arena = Arena(driver, stream)
        self._weights = 0
        self._stage = FrameStage(driver, stream)
        self._pictures: Pictures | None = None

    def prefetch(self, frame: NDArray[np.uint8]) -> None:
        """Send a frame ahead while another is computed."""
        self._stage.prefetch(frame)

    def renewed(self) -> None:
        """The back end has other weights: what was recorded with the old ones is not used again."""
        self._weights += 1

    def run(self, frame: NDArray[np.uint8], size: tuple[int, int] | None = None, later: bool = False) -> DeviceFeatures:
        """Queue a frame's encoding.

        Args:
            frame: RGB uint8 (H, W, 3).
            size: (H, W) to compute at; the frame is resized on the device.
            later: send the frame alone, and leave the encoding to be queued, or recorded, with what follows it.
        """
        own = frame.shape[0], frame.shape[1]
        size = size or own
        fixed = self._manifest.size
        if fixed is not None and size != fixed:
            raise SourceError(
                f"this bundle takes frames of {fixed[0]}x{fixed[1]} (HxW) only, not {size[0]}x{size[1]}; "
                f"give --size {fixed[0]}x{fixed[1]}"
            )
        address = self._stage.take(frame)
        resized = 0
        if size != own:
            self._pictures = self._pictures or Pictures(self.driver)
            resized = self._arena("resized", size[0] * size[1] * 3)
        grid = grid_size(*size, self._manifest.stride)
        shape = self._manifest.channels, *grid
        features = self._arena("features", shape[0] * shape[1] * shape[2] * 4)

        def queue() -> None:
            if resized:
                assert self._pictures is not None
                self._pictures.resize(address, own, resized, size, self.stream)
            self._enqueue(resized or address, size, features)

        encoding = Encoding((self._weights, self._arena.version, address, own, size), queue)
        found = DeviceFeatures(self.driver, features, shape, self.stream, encoding)
        if not later:
            found.ready()
        return found

    def close(self) -> None:
        """Give the device memory back."""
        self._stage.close()
        self._arena.clear()
