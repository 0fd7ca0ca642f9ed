"""The engine that runs the encoder: one protocol, and the one place where a back end is chosen."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import SettingError

ENGINES = ("auto", "cpu", "cuda", "tensorrt")


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


def open_engine(bundle: Bundle, engine: str = "auto", threads: int | None = None) -> Engine:
    """Open the encoder of a bundle.

    Args:
        bundle: a checked bundle.
        engine: `cpu` (ONNX Runtime), or `auto`, which takes the best that this version has: the CPU.
        threads: of the CPU engine; by default every processor this process may use.

    Raises:
        SettingError: an engine that is unknown or not there yet.
        MissingExtraError: its packages are not installed.
    """
    if engine in ("auto", "cpu"):
        from crwedge.runtime.engines.cpu import CpuEngine

        return CpuEngine(bundle, threads)
    if engine in ENGINES:
        raise SettingError(f"the engine {engine!r} is not in this version; use --engine cpu")
    raise SettingError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
