"""The one place where a back end is chosen."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.core.errors import CrwedgeError, SettingError
from crwedge.core.settings import PropagationSettings, check_choice
from crwedge.runtime.backends.base import Backend
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.hardware import nvidia_gpu
from crwedge.runtime.backends.cuda.nvidia import missing as missing_driver
from crwedge.runtime.backends.engine import DeviceEngine, Engine
from crwedge.runtime.propagation.view import Size, View

ENGINES = ("auto", "cpu", "cuda", "tensorrt")
AUTO = ("tensorrt", "cuda", "cpu")
"""What `auto` tries, in this order."""
_USUAL_SIZE = (480, 854)
"""(H, W) that a device is tried with where the frames' size is not known yet."""

_log = logging.getLogger("crwedge")


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    size: Size | None = None,
) -> Engine:
    """Open the encoder of a bundle. Engines that `auto` could not use are logged, with the reason.

    Args:
        bundle: a checked bundle.
        engine: `cpu` (ONNX Runtime), `cuda` (ONNX Runtime on an NVIDIA GPU), `tensorrt` (an engine built on this
            device), or `auto`: the first of TensorRT, CUDA and the CPU that can be opened.
        threads: of the CPU engine; by default every processor this process may use.
        size: (H, W) of the frames that will come, where it is known.

    Raises:
        SettingError: an engine that is unknown.
        MissingExtraError: its packages are not installed.
        DeviceError: there is no GPU, or it cannot be used.
        BundleError: no TensorRT engine of the bundle fits.
    """
    check_choice("engine", engine, ENGINES)
    return next(_engines(bundle, threads, size)) if engine == "auto" else _open(engine, bundle, threads, size)


def open_backend(
    bundle: Bundle,
    settings: PropagationSettings,
    engine: str | Engine = "auto",
    workers: int | None = None,
    *,
    keep_frames: bool = False,
    size: Size | None = None,
) -> Backend:
    """Open what a tracker computes with: the device of the engine does all of it.

    Args:
        bundle: a checked bundle.
        settings: the protocol.
        engine: a name as for `open_engine`, or an engine that is open already.
        workers: threads of the CPU; by default every processor this process may use.
        keep_frames: keep the pixels of the context's frames, for `Backend.encode_again`.
        size: (H, W) of the frames that will come, where it is known.

    Raises:
        SettingError: the settings need frames of any size, and the bundle takes one size.
    """
    if settings.cells is not None and bundle.manifest.size is not None:
        raise SettingError(
            f"the bundle {bundle.manifest.name} takes frames of one size, and a region needs other sizes: choose a preset "
            "that computes whole frames (--preset crw), or export without --size"
        )
    if not isinstance(engine, str):
        return backend_of(engine, settings, workers, keep_frames)
    if engine != "auto":
        return backend_of(open_engine(bundle, engine, workers, size), settings, workers, keep_frames)
    for opened in _engines(bundle, workers, size):
        backend = backend_of(opened, settings, workers, keep_frames)
        try:
            if backend.on_device:
                _try_out(backend, size or _USUAL_SIZE)
            return backend
        except DeviceError as error:
            _log.info("note: engine %s not used: %s", backend.engine.name, error)
            with contextlib.suppress(CrwedgeError):
                backend.close()  # a lost device refuses even to give memory back
    raise AssertionError("the CPU is always there")


def backend_of(
    engine: Engine, settings: PropagationSettings, workers: int | None = None, keep_frames: bool = False
) -> Backend:
    """The backend on the device that an engine runs on."""
    if isinstance(engine, DeviceEngine):
        from crwedge.runtime.backends.cuda.backend import CudaBackend

        return CudaBackend(engine, settings, keep_frames=keep_frames)
    return CpuBackend(engine, settings, workers, keep_frames)


def probe_engines(bundle: Bundle) -> list[tuple[str, bool, str]]:
    """Which engines work on this machine: (name, whether it does, its version or the reason it does not)."""
    found = []
    for name in ENGINES[1:]:
        try:
            engine = open_engine(bundle, name)
            found.append((name, True, engine.name))
            engine.close()
        except CrwedgeError as error:
            found.append((name, False, str(error)))
    return found


def _engines(bundle: Bundle, threads: int | None, size: Size | None) -> Iterator[Engine]:
    """The engines of `AUTO` that can be opened; the error of the last one is raised."""
    names: tuple[str, ...] = AUTO
    if reason := missing_driver():
        # A machine without an NVIDIA GPU lacks nothing, so nothing is said.
        if nvidia_gpu():
            _log.info("note: engine cpu is used although there is an NVIDIA GPU: %s", reason)
        names = AUTO[-1:]
    for name in names:
        try:
            yield _open(name, bundle, threads, size)
        except CrwedgeError as error:
            if name == names[-1]:
                raise
            _log.info("note: engine %s not used: %s", name, error)


def _open(name: str, bundle: Bundle, threads: int | None, size: Size | None) -> Engine:
    if name == "cpu":
        from crwedge.runtime.backends.onnx_cpu import CpuEngine

        return CpuEngine(bundle, threads)
    if name == "cuda":
        from crwedge.runtime.backends.onnx_cuda import CudaEngine

        return CudaEngine(bundle)
    from crwedge.runtime.backends.tensorrt import TensorRtEngine

    return TensorRtEngine(bundle, size)


def _try_out(backend: Backend, size: Size) -> None:
    """Label a blank frame, so that a lack of memory shows before the first real one."""
    features = backend.encode(np.zeros((*size, 3), np.uint8), View.whole(size))
    soft = np.ones((1, *features.view.grid), np.float32)
    backend.remember(backend.label(features, soft), pinned=True, trust=1.0)
    backend.clear()
