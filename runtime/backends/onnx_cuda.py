"""ONNX Runtime on an NVIDIA GPU: input and output are bound to device memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.errors import MissingExtraError
from crwedge.core.images import grid_size
from crwedge.core.optional import import_optional
from crwedge.core.packages import install_command
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.encode import DeviceEncoder, EncoderOutput
from crwedge.runtime.backends.cuda.errors import DeviceError, device_error, quiet_when_lost
from crwedge.runtime.backends.cuda.pycuda_driver import open_driver
from crwedge.runtime.backends.onnx_session import Session
from crwedge.runtime.propagation.view import View

PROVIDERS = ("CUDAExecutionProvider", "NvTensorRTRTXExecutionProvider", "TensorrtExecutionProvider")
"""Those that work on a GPU; the first is the default."""


class CudaEngine:
    """The encoder of a bundle in an ONNX Runtime session on the device."""

    def __init__(
        self, bundle: Bundle, provider: str = PROVIDERS[0], driver: Driver | None = None, ort: Any = None
    ) -> None:
        """Load the graph.

        Args:
            bundle: a checked bundle.
            provider: one of `PROVIDERS`.
            driver: the device; by default the first GPU.
            ort: stands for onnxruntime in tests.

        Raises:
            MissingExtraError: onnxruntime-gpu is not installed.
            DeviceError: there is no GPU that works, or ONNX Runtime does not use it.
        """
        ort = ort or import_optional("onnxruntime", extra="gpu")
        if provider not in ort.get_available_providers():
            raise MissingExtraError(f"this onnxruntime has no {provider}: {install_command('gpu')}")
        self._running: Any = None
        self.driver = driver.retain() if driver else open_driver()
        try:
            self._open(bundle, provider, ort)
        except BaseException:
            self.driver.close()
            raise

    def _open(self, bundle: Bundle, provider: str, ort: Any) -> None:
        stream = self.driver.stream()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        with_options = provider, {"device_id": "0", "user_compute_stream": str(stream)}
        wanted = [with_options, "CPUExecutionProvider"]
        self._session = Session(ort, bundle.read(ONNX), str(bundle.path / ONNX), options, wanted)
        # The list of available providers says what was compiled in; only the session knows what could be loaded.
        got = self._session.current.get_providers()
        if provider not in got:
            raise DeviceError(
                f"ONNX Runtime could not start {provider} and fell back to {got[0]}; its CUDA or cuDNN libraries are "
                "missing or of another version"
            )
        self._run_options = ort.RunOptions()
        # The kernels that follow are queued on the same stream: nothing has to wait for the host.
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._provider, self._manifest = provider, bundle.manifest
        self._encoder = DeviceEncoder(self.driver, bundle.manifest, self._enqueue, stream)
        self.name = f"onnxruntime {ort.__version__} {provider.removesuffix('ExecutionProvider').lower()}"

    @property
    def stream(self) -> int:
        """The queue that everything runs on."""
        return self._encoder.stream

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        return self._encoder.run(frame)

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        """See `DeviceEngine.run_resident`."""
        return self._encoder.run_resident(frame, view)

    def refit(self, onnx: bytes) -> None:
        """See `Refittable.refit`."""
        self._session.refit(onnx)

    def close(self) -> None:
        """End the session and give the device memory back."""
        with quiet_when_lost():
            self.driver.synchronise(self.stream)
        del self._session
        self._running = None
        self._encoder.close()
        self.driver.close()

    def _enqueue(self, frame: int, size: tuple[int, int], features: int) -> None:
        session = self._session.current
        if self._running is not session:
            # With new weights, the old session's last frame has to be through before its memory goes.
            if self._running is not None:
                self.driver.synchronise(self.stream)
            self._running = session
        binding = session.io_binding()
        source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
        shape = (1, self._manifest.channels, *grid_size(*size, self._manifest.stride))
        binding.bind_input(source, "cuda", 0, np.uint8, (1, *size, 3), frame)
        binding.bind_output(target, "cuda", 0, np.float32, shape, features)
        try:
            session.run_with_iobinding(binding, self._run_options)
        except Exception as error:
            reason = str(error).splitlines()[0][:200]
            if "memory" in reason.lower() and ("alloc" in reason.lower() or "out of" in reason.lower()):
                raise device_error(2, "run the encoder") from error
            raise DeviceError(f"ONNX Runtime failed on the GPU: {reason}") from error
