"""A TensorRT engine of the bundle, deserialised from the very bytes whose hash was checked."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.engine_key import MODULES, EngineKey, Profile, Size
from crwedge.core.engine_store import FoundEngine, engine_folders, find_engine
from crwedge.core.errors import BundleError, MissingExtraError
from crwedge.core.optional import import_optional
from crwedge.core.packages import install_command
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.encode import DeviceEncoder, EncoderOutput
from crwedge.runtime.backends.cuda.errors import DeviceError, quiet_when_lost
from crwedge.runtime.backends.cuda.pycuda_driver import open_driver
from crwedge.runtime.bundle_lookup import data_home
from crwedge.runtime.propagation.view import View

_ANY_SIZE: Size = (480, 854)
"""What an engine must take when the frames' size is not known yet."""


class TensorRtEngine:
    """The encoder of a bundle in a TensorRT engine."""

    def __init__(self, bundle: Bundle, size: Size | None = None, driver: Driver | None = None, trt: Any = None) -> None:
        """Find the engine that fits this device and load it. None is ever built here.

        Args:
            bundle: a checked bundle.
            size: (H, W) of the frames, where it is known already.
            driver: the device; by default the first GPU.
            trt: stands for the module tensorrt in tests.

        Raises:
            MissingExtraError: TensorRT is not installed.
            BundleError: no engine fits; the message says how to build one.
            DeviceError: there is no GPU that works, or TensorRT refuses the engine.
        """
        trt = trt or load_tensorrt()
        self._trt = trt
        self.driver = driver.retain() if driver else open_driver()
        try:
            self._open(bundle, size)
        except BaseException:
            self.driver.close()
            raise

    def _open(self, bundle: Bundle, size: Size | None) -> None:
        trt = self._trt
        self._found = self._find(bundle, size or bundle.manifest.size)
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._load()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError("TensorRT could not allocate memory for the engine; end other programs on the GPU")
        self._input, self._output = self._names()
        self._fresh: tuple[Any, Any] | None = None
        self._exchange = threading.Lock()
        self._encoder = DeviceEncoder(self.driver, bundle.manifest, self._enqueue, self.driver.stream())
        self.name = f"{trt.__name__} {trt.__version__}"

    @property
    def stream(self) -> int:
        """The queue that everything runs on."""
        return self._encoder.stream

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        self._prepare((frame.shape[0], frame.shape[1]))
        return self._encoder.run(frame)

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        """See `DeviceEngine.run_resident`."""
        self._prepare(view.pixel_size)
        return self._encoder.run_resident(frame, view)

    def refit(self, onnx: bytes) -> None:
        """See `Refittable.refit`: a second copy of the engine takes the weights, then the two change places."""
        if not self._found.facts.refittable:
            raise BundleError("this engine was built without refitting; build it again with `crwedge export`")
        engine = self._load()
        refitter = self._trt.Refitter(engine, self._logger)
        parser = self._trt.OnnxParserRefitter(refitter, self._logger)
        if not parser.refit_from_bytes(onnx) or not refitter.refit_cuda_engine():
            raise BundleError("TensorRT refuses the new weights: they are not of the engine's network")
        context = engine.create_execution_context()
        if context is None:
            raise DeviceError("TensorRT could not allocate memory for a second engine; end other programs on the GPU")
        with self._exchange:
            self._fresh = engine, context

    def close(self) -> None:
        """Give the device memory back."""
        with quiet_when_lost():
            self.driver.synchronise(self.stream)
        self._encoder.close()
        self._fresh = None
        del self._context, self._engine, self._runtime
        self.driver.close()

    def _prepare(self, size: Size) -> None:
        """Check the size of the next frame, and take new weights where they are ready."""
        profile = self._found.facts.key.profile
        if not profile.holds(size):
            raise DeviceError(
                f"the engine takes frames of {profile}, not {size[0]}x{size[1]}; build one with "
                f"`crwedge export --engine tensorrt --size {size[0]}x{size[1]}`, or set the size"
            )
        with self._exchange:
            fresh, self._fresh = self._fresh, None
        if fresh is not None:
            # The old engine's last frame has to be complete before its memory goes.
            self.driver.synchronise(self.stream)
            self._engine, self._context = fresh

    def _find(self, bundle: Bundle, size: Size | None) -> FoundEngine:
        major, minor = self.driver.facts.capability
        size = size or _ANY_SIZE
        wanted = EngineKey(
            onnx_sha256=bundle.sha256,
            module=self._trt.__name__,
            version=str(self._trt.__version__),
            compute_capability=f"{major}.{minor}",
            precision=bundle.manifest.precision,
            profile=Profile.of(size),
        )
        found = find_engine(engine_folders(bundle.path, data_home()), wanted, size)
        if found is None:
            raise BundleError(
                "no TensorRT engine of this bundle fits this device; build one with "
                f"`crwedge export {bundle.path} --engine tensorrt`"
            )
        return found

    def _load(self) -> Any:
        engine = self._runtime.deserialize_cuda_engine(self._found.data)
        if engine is None:
            raise DeviceError(f"TensorRT cannot load {self._found.path}; delete it and build it again")
        return engine

    def _names(self) -> tuple[str, str]:
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        sides = [self._engine.get_tensor_mode(name) for name in names]
        try:
            mode = self._trt.TensorIOMode
            return names[sides.index(mode.INPUT)], names[sides.index(mode.OUTPUT)]
        except ValueError as error:
            raise BundleError(
                f"the engine {self._found.path} is not an encoder; delete it and build it again"
            ) from error

    def _enqueue(self, frame: int, size: tuple[int, int], features: int) -> None:
        context = self._context
        if not context.set_input_shape(self._input, (1, *size, 3)):
            raise DeviceError(f"the engine does not take frames of {size[0]}x{size[1]}")
        context.set_tensor_address(self._input, frame)
        context.set_tensor_address(self._output, features)
        if not context.execute_async_v3(self.stream):
            raise DeviceError("TensorRT could not start the encoder; the device may be out of memory or lost")


def load_tensorrt() -> Any:
    """`tensorrt`, or `tensorrt_rtx` where only that is installed."""
    for module in MODULES:
        try:
            return import_optional(module, extra="tensorrt")
        except MissingExtraError:
            continue
        except ImportError as error:
            raise DeviceError(f"{module} cannot be loaded: {str(error).splitlines()[0]}") from error
    raise MissingExtraError(f"tensorrt is not installed: {install_command('tensorrt')} (JetPack brings its own)")
