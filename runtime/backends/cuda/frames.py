"""Frames on their way to the device: double-buffered copies, colour and size."""

from __future__ import annotations

from ctypes import Structure

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.runtime.backends.cuda import params
from crwedge.runtime.backends.cuda.driver import Arena, Driver
from crwedge.runtime.backends.cuda.errors import quiet_when_lost
from crwedge.runtime.backends.cuda.source import Variant

_THREADS = 256


class FrameStage:
    """Brings RGB uint8 frames to the device, one ahead of the one being computed.

    There are two buffers on both sides. A frame is copied into pinned memory and sent on a stream of its own, so the
    copy of frame t + 1 runs while frame t is computed; the computing stream waits for the copy, never the host. Where
    device and host share their memory (Jetson) nothing is sent: the device reads the pinned buffer. A frame that was
    sent ahead and is not the next one after all gives its buffer to the one that is.
    """

    def __init__(self, driver: Driver, stream: int) -> None:
        """`stream` is where the frames will be used."""
        self.driver, self.stream = driver, stream
        self._copying = driver.stream()
        self._arena = Arena(driver)
        self._sent = [driver.event(), driver.event()]
        self._used = [driver.event(), driver.event()]
        self._pinned: list[NDArray[np.uint8]] = []
        self._taken = 1
        self._ahead: NDArray[np.uint8] | None = None

    def prefetch(self, frame: NDArray[np.uint8]) -> None:
        """Send a frame (H, W, 3) ahead; the next `take` of the same array finds it there."""
        self._ahead = None
        self._send(frame)
        self._ahead = frame

    def take(self, frame: NDArray[np.uint8]) -> int:
        """The frame's address on the device, whole by the time the computing stream gets there.

        It stays as it is until the second next frame is sent.
        """
        if self._ahead is not frame:
            self._send(frame)
        self._ahead = None
        other, self._taken = self._taken, 1 - self._taken
        self.driver.wait(self.stream, self._sent[self._taken])
        # What is queued up to now has read the other buffer, so that one may be overwritten when it has run.
        self.driver.record(self._used[other], self.stream)
        return self._address(self._taken)

    def close(self) -> None:
        """Give the memory back, when frames on their way have arrived and those computed on have been read."""
        self._ahead = None
        for stream in (self._copying, self.stream):
            with quiet_when_lost():
                self.driver.synchronise(stream)
        self._arena.clear()
        for pinned in self._pinned:
            with quiet_when_lost():
                self.driver.unpin(pinned)
        self._pinned = []

    def _send(self, frame: NDArray[np.uint8]) -> None:
        """Send a frame to the buffer that is not being computed on."""
        if not self._pinned or self._pinned[0].shape != frame.shape:
            self.close()
            self._pinned = [self.driver.pinned(frame.shape, np.uint8) for _ in range(2)]
        place = 1 - self._taken
        # The host must not overwrite what may still be read: the buffer's last copy, or the frame that was computed on.
        self.driver.await_event(self._sent[place])
        if self.driver.facts.integrated:
            self.driver.await_event(self._used[place])
        self._pinned[place][...] = frame
        if not self.driver.facts.integrated:
            self.driver.wait(self._copying, self._used[place])
            self.driver.upload(self._address(place), self._pinned[place], self._copying)
        self.driver.record(self._sent[place], self._copying)

    def _address(self, place: int) -> int:
        pinned = self._pinned[place]
        return pinned.ctypes.data if self.driver.facts.integrated else self._arena(f"frame{place}", pinned.nbytes)


class Pictures:
    """The kernels that change a picture's size and colour."""

    def __init__(self, driver: Driver) -> None:
        """Compile them, or read them from the cache."""
        self.driver = driver
        module = driver.load("frames.cu", Variant(False))
        self._resize = driver.kernel(module, "resize", 0)
        self._nv12 = driver.kernel(module, "nv12_to_rgb", 0)

    def resize(
        self, source: int, source_size: tuple[int, int], target: int, size: tuple[int, int], stream: int
    ) -> None:
        """RGB uint8 (H, W, 3) to another size, as `crwedge.core.images.resize_frame` does it."""
        self._launch(self._resize, size, params.Resize(source, target, 0, *source_size, *size), stream)

    def normalise(
        self, source: int, source_size: tuple[int, int], planes: int, size: tuple[int, int],
        mean: tuple[float, float, float], std: tuple[float, float, float], stream: int,
    ) -> None:  # fmt: skip
        """RGB uint8 (H, W, 3) to float32 (3, *size) of mean 0: for encoders that take it so."""
        values = params.Resize(source, 0, planes, *source_size, *size)
        for channel in range(3):
            values.scale[channel] = 1 / (255 * std[channel])
            values.shift[channel] = -mean[channel] / std[channel]
        self._launch(self._resize, size, values, stream)

    def nv12_to_rgb(
        self, luma: int, chroma: int, pitch: int, rgb: int, size: tuple[int, int], stream: int, high_definition: bool
    ) -> None:
        """A picture of a camera or hardware decoder to RGB uint8 (H, W, 3); sides must be even."""
        if size[0] % 2 or size[1] % 2:
            raise SourceError(f"an NV12 picture has even sides, not {size[1]}x{size[0]}")
        self._launch(self._nv12, size, params.Colour(luma, chroma, rgb, *size, pitch, high_definition), stream)

    def _launch(self, kernel: object, size: tuple[int, int], values: Structure, stream: int) -> None:
        self.driver.launch(kernel, (-(-size[0] * size[1] // _THREADS), 1), _THREADS, 0, values, stream)
