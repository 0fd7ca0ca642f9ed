"""The engine that runs the encoder: one protocol, and the one place where a back end is chosen."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import CrwedgeError, SettingError

if TYPE_CHECKING:
    from crwedge.runtime.backends.cuda.driver import Driver
    from crwedge.runtime.backends.cuda.features import DeviceFeatures

ENGINES = ("auto", "cpu", "cuda", "tensorrt")
AUTO = ("tensorrt", "cuda", "cpu")
"""What `auto` tries, in this order."""

Say = Callable[[str], None]
Size = tuple[int, int]


class Engine(Protocol):
    """Frames to features."""

    name: str
    """Which back end runs, with its version."""

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (H, W, 3) -> features (C, ceil(H / 8), ceil(W / 8)) float32, unit length over C."""
        ...

    def close(self) -> None:
        """Give back threads and memory."""
        ...


@runtime_checkable
class Batching(Protocol):
    """An engine that encodes several frames at once."""

    @property
    def at_once(self) -> int:
        """How many calls may run side by side, from different threads."""
        ...

    def run_many(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """`Engine.run` of frames of one size, as one batch where the graph takes one; the same features to the bit."""
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
class ResidentEngine(Protocol):
    """An engine on a device, whose features can stay there."""

    driver: Driver
    say: Say
    """Told, in one line each, what does not work as well as it could."""

    @property
    def stream(self) -> int:
        """The queue that everything runs on."""
        ...

    def run_resident(self, frame: NDArray[np.uint8], size: Size | None = None, later: bool = False) -> DeviceFeatures:
        """Queue RGB uint8 (H, W, 3), resized to `size` on the device; features (C, h, w) in device memory.

        With `later` the frame is sent, and the encoder may be left to be queued with what follows, as one CUDA graph.
        """
        ...

    def prefetch(self, frame: NDArray[np.uint8]) -> None:
        """Send a frame to the device while another is computed. When the next to run is another array, it is sent then."""
        ...


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    say: Say | None = None,
    size: Size | None = None,
) -> Engine:
    """Open the encoder of a bundle.

    Args:
        bundle: a checked bundle.
        engine: `cpu` (ONNX Runtime), `cuda` (ONNX Runtime on an NVIDIA GPU), `tensorrt` (an engine built on this
            device), or `auto`: TensorRT if an engine fits, else CUDA, else the CPU.
        threads: of the CPU engine; by default every processor this process may use.
        say: told once, in one line, of each engine that `auto` could not use, and why.
        size: (H, W) of the frames that will come, where it is known.

    Raises:
        SettingError: an engine that is unknown.
        MissingExtraError: its packages are not installed.
        DeviceError: there is no GPU, or it cannot be used.
        BundleError: no TensorRT engine of the bundle fits.
    """
    if engine == "auto":
        return AutoEngine(bundle, threads, say or (lambda _: None), size)
    if engine in ENGINES:
        return _open(engine, bundle, threads, say or (lambda _: None), size)
    raise SettingError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")


class AutoEngine:
    """The best engine that works here; when it stops working, the next one goes on."""

    def __init__(self, bundle: Bundle, threads: int | None, say: Say, size: Size | None) -> None:
        """Open the first engine of `AUTO` that can be opened."""
        self._arguments = bundle, threads, say, size
        self._say = say
        self._left = list(AUTO)
        if reason := no_driver():
            # One line is enough for a machine that has no NVIDIA GPU at all.
            self._left = ["cpu"]
            say(f"engine cpu is used: {reason}")
        self.current = self._next()
        """The engine that runs now."""
        self.name = self.current.name

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`. A frame on which the device failed is run again on the next engine."""
        from crwedge.runtime.backends.cuda.errors import DeviceError

        while True:
            try:
                return self.current.run(frame)
            except DeviceError as error:
                self.step_down(error)

    @property
    def at_once(self) -> int:
        """See `Batching.at_once`."""
        return self.current.at_once if isinstance(self.current, Batching) else 1

    def run_many(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `Batching.run_many`. Devices take one frame after the other."""
        if isinstance(self.current, Batching):
            return self.current.run_many(frames)
        return [self.run(frame) for frame in frames]

    def step_down(self, error: CrwedgeError) -> None:
        """Go on with the next engine because of `error`, which is raised again when there is none."""
        if not self._left:
            raise error
        failed, name = self.current, self.name
        self._announce(name, error)
        _close_quietly(failed)
        self.current = self._next()
        self.name = self.current.name

    def refit(self, onnx: bytes) -> None:
        """See `Refittable.refit`."""
        if not isinstance(self.current, Refittable):
            raise SettingError(f"the engine {self.name} cannot take new weights")
        self.current.refit(onnx)

    def close(self) -> None:
        """See `Engine.close`."""
        self.current.close()

    def _next(self) -> Engine:
        while True:
            name = self._left.pop(0)
            try:
                return _open(name, *self._arguments)
            except CrwedgeError as error:
                if not self._left:
                    raise
                self._announce(name, error)

    def _announce(self, name: str, error: CrwedgeError) -> None:
        self._say(f"engine {name} not used, {self._left[0]} is next: {error}")


def resident(engine: Engine) -> ResidentEngine | None:
    """The engine on a device that `engine` is, or that `auto` has chosen; None for one on the CPU."""
    inner = engine.current if isinstance(engine, AutoEngine) else engine
    return inner if isinstance(inner, ResidentEngine) else None


def no_driver() -> str | None:
    """Why this machine can have no NVIDIA GPU, or None when its driver is there."""
    from crwedge.runtime.backends.cuda import libcuda

    return libcuda.missing()


def probe_engines(bundle: Bundle | None = None) -> list[tuple[str, bool, str]]:
    """Which engines work on this machine: (name, whether it does, its version or the reason it does not)."""
    if bundle is None:
        from crwedge.runtime.bundle_lookup import find_bundle

        bundle = find_bundle()
    found = []
    for name in ("cpu", "cuda", "tensorrt"):
        try:
            engine = _open(name, bundle, None, lambda _: None, None)
            found.append((name, True, engine.name))
            engine.close()
        except CrwedgeError as error:
            found.append((name, False, str(error)))
    return found


def _open(name: str, bundle: Bundle, threads: int | None, say: Say, size: Size | None) -> Engine:
    if name == "cpu":
        from crwedge.runtime.backends.onnx_cpu import CpuEngine

        return CpuEngine(bundle, threads)
    if name == "cuda":
        from crwedge.runtime.backends.onnx_cuda import CudaEngine

        return CudaEngine(bundle, say=say)
    from crwedge.runtime.backends.tensorrt import TensorRtEngine

    return TensorRtEngine(bundle, size, say)


def _close_quietly(engine: Engine) -> None:
    # A lost device refuses even to give memory back, and that is no news.
    with contextlib.suppress(CrwedgeError):
        engine.close()


class LockedEngine:
    """An engine that several streams share: one frame at a time. Closing it leaves the engine open."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine, self._lock = engine, threading.Lock()

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`; from any thread."""
        with self._lock:
            return self._engine.run(frame)

    def close(self) -> None:
        """Leave the engine to whoever opened it."""
