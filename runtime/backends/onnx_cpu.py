"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.errors import SourceError
from crwedge.core.optional import import_optional
from crwedge.runtime.backends.onnx_session import Session
from crwedge.runtime.propagation.attention import cpu_count


class CpuEngine:
    """The encoder of a bundle in an ONNX Runtime session."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Load the graph; BundleError when ONNX Runtime refuses it."""
        ort = import_optional("onnxruntime", extra="cpu")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cpu_count()
        options.inter_op_num_threads = 1
        # Spinning threads would take the processors from the attention, which runs while the session waits.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = Session(ort, bundle.read(ONNX), str(bundle.path / ONNX), options, ["CPUExecutionProvider"])
        self._input = self._session.current.get_inputs()[0].name
        self._size = bundle.manifest.size
        self.name = f"onnxruntime {ort.__version__} cpu"

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        self._check(frame)
        (features,) = self._session.current.run(None, {self._input: frame[None]})
        return np.asarray(features[0], np.float32)

    def refit(self, onnx: bytes) -> None:
        """See `Refittable.refit`."""
        self._session.refit(onnx)

    def close(self) -> None:
        """End the session."""
        del self._session

    def _check(self, frame: NDArray[np.uint8]) -> None:
        if self._size is not None and frame.shape[:2] != self._size:
            raise SourceError(
                f"this bundle takes frames of {self._size[0]}x{self._size[1]} (HxW) only, not "
                f"{frame.shape[0]}x{frame.shape[1]}; set the size {self._size[0]}x{self._size[1]}"
            )
