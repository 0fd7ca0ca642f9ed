"""One engine for several streams in one process."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.engine import Engine


class SharedEngine:
    """Streams take turns: the weights are held once, and one stream is encoded while another propagates.

    What a stream gets is what it would get alone, to the bit. Closing it does nothing: the engine belongs to whoever
    opened it.
    """

    def __init__(self, engine: Engine) -> None:
        """The engine stays open when the streams end."""
        self._engine, self._turn = engine, threading.Lock()
        self.name = engine.name

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`; any thread may call."""
        with self._turn:
            return self._engine.run(frame)

    def close(self) -> None:
        """Nothing: other streams still run."""
