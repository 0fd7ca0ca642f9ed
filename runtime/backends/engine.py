"""The engine that runs the encoder: frames to features."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from crwedge.runtime.backends.cuda.driver import Driver
    from crwedge.runtime.backends.cuda.encode import EncoderOutput
    from crwedge.runtime.propagation.view import View


class Engine(Protocol):
    """An encoder that is ready to run."""

    name: str
    """The inference library with its version and device, such as `onnxruntime 1.20.1 cpu`."""

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (H, W, 3) -> features (C, ceil(H / 8), ceil(W / 8)) float32, unit length over C."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


@runtime_checkable
class Refittable(Protocol):
    """An engine that can go on with other weights."""

    def refit(self, onnx: bytes) -> None:
        """Take the weights of another ONNX file of the same network, from the next frame on.

        May be called from any thread while frames are being run: the new weights are made ready beside the old ones,
        and the two change places between two frames.

        Raises:
            BundleError: the file is of another network.
        """
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine on an NVIDIA device, whose features can stay there."""

    driver: Driver
    """The device."""

    @property
    def stream(self) -> int:
        """The queue that everything runs on."""
        ...

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        """Queue the encoding of the view of RGB uint8 (H, W, 3), resized and cropped on the device; features stay there."""
        ...


class LockedEngine:
    """An engine that several streams share: one frame is encoded at a time. The caller that opened the engine closes it."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine, self._lock = engine, threading.Lock()

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`; any thread may call."""
        with self._lock:
            return self._engine.run(frame)

    def close(self) -> None:
        """The shared engine stays open."""
