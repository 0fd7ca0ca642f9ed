"""The engine of ONNX Runtime's CUDA provider on the emulated driver: its sessions compute on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.runtime.backends.onnx_cuda import PROVIDERS, CudaEngine
from tests.emulated_cuda import EmulatedCuda


class EmulatedSession:
    """ONNX Runtime on the CPU that reads and writes the addresses it is bound to."""

    def __init__(self, onnx: bytes, options: Any, providers: Any) -> None:
        import onnxruntime as ort

        one_thread = ort.SessionOptions()
        one_thread.intra_op_num_threads = 1
        self._real = ort.InferenceSession(onnx, one_thread, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._real.get_inputs, self._real.get_outputs

    def get_providers(self) -> list[str]:
        return [PROVIDERS[0]]

    def io_binding(self) -> Any:
        bound: dict[str, Any] = {}
        return SimpleNamespace(
            bind_input=lambda *values: bound.update(input=values),
            bind_output=lambda *values: bound.update(output=values),
            bound=bound,
        )

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        *_, shape, address = binding.bound["input"]
        pixels = np.empty(shape, np.uint8)
        EmulatedCuda().download(pixels, address, 0)
        (features,) = self._real.run(None, {self._real.get_inputs()[0].name: pixels})
        *_, shape, address = binding.bound["output"]
        assert features.shape == shape
        EmulatedCuda().upload(address, features, 0)


def device_engine(bundle: Bundle, driver: EmulatedCuda | None = None) -> CudaEngine:
    """An engine that believes to be on a GPU."""
    ort = SimpleNamespace(
        __version__="0.emulated", InferenceSession=EmulatedSession, SessionOptions=SimpleNamespace,
        RunOptions=lambda: SimpleNamespace(add_run_config_entry=lambda *_: None),
        get_available_providers=lambda: list(PROVIDERS),
    )  # fmt: skip
    return CudaEngine(bundle, driver=driver or EmulatedCuda(), ort=ort)
