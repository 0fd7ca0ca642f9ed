"""The runtime's interface to test-time training: a protocol without PyTorch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.runtime.backends.engine import Engine


class Adapter(Protocol):
    """Receives every frame and, at times, returns an engine with new weights, which is exchanged between two frames.

    An adapter that needs future frames delays the source that it wraps, not the tracker: the
    tracker labels every frame it is given at once.
    """

    recompute: bool
    """Whether the context's frames are encoded again when the engine changes."""

    def start(
        self, bundle: Bundle, engine: Engine, threads: int | None, size: tuple[int, int] | None, context_length: int
    ) -> None:
        """Called once, before the first frame, with what the tracker was opened with.

        Args:
            bundle: the encoder that adaptation starts from.
            engine: the one that runs; the tracker closes it.
            threads: of the engine.
            size: (H, W) that frames are encoded at; None for their own.
            context_length: how many frames back the tracker looks, beside the first.
        """
        ...

    def prepare(self, frame: NDArray[np.uint8], index: int) -> Engine | None:
        """Called once for each frame, before it is encoded.

        Args:
            frame: RGB uint8 (H, W, 3).
            index: number of the frame in its source, from 0; it may skip where frames were dropped.

        Returns:
            An engine to use from this frame on, or None to go on with the present weights. The tracker closes the one
            it had, unless it is the same with new weights.
        """
        ...

    def features(self, frame: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Features (C, h, w) of an earlier frame by the engine that `prepare` has just given, where they are known.

        Asked only where `recompute` is set, for the very arrays that `prepare` was given.
        """
        ...

    def reset(self) -> None:
        """The tracker forgot its objects and frames; weights may stay."""
        ...

    def close(self) -> None:
        """Stop whatever runs."""
        ...
