"""Find objects anywhere in a frame, at a low scale and without an expected position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Backend, ContextState, Search
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.monitor import expected_overlap
from crwedge.runtime.propagation.view import View
from crwedge.runtime.region import Box, object_boxes

SETTINGS = PropagationSettings(
    context_length=1, radius=float("inf"), prefill=False, max_pinned=4, labels="area", first_frame="global"
)
"""Only the frames with a prompt are compared, without a neighbourhood; predictions are not used."""


class _EngineOf:
    """The present engine of a backend; the backend closes it."""

    name = "engine of a backend"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        return self._backend.engine.run(frame)

    def close(self) -> None:
        """The engine belongs to the backend."""


@dataclass(frozen=True)
class Found:
    """Where an object was found."""

    box: Box
    confidence: float
    """Expected overlap with the truth, 0 to 1."""


class Finder:
    """Compares whole frames with those that came with a prompt, on the CPU: a search happens rarely.

    Args:
        backend: its engine encodes.
        view: the whole frame, at the scale that is searched.
    """

    def __init__(self, backend: Backend, view: View) -> None:
        self._backend, self._view = CpuBackend(_EngineOf(backend), SETTINGS, keep_frames=True), view

    def learn(self, pixels: NDArray[np.uint8], soft: NDArray[np.float32]) -> None:
        """Remember a frame with its labels.

        Args:
            pixels: RGB uint8 (H, W, 3).
            soft: (K, h, w) soft labels of the whole frame, on the grid of the view that is searched.
        """
        prediction = self._backend.label(self._backend.encode(pixels, self._view), soft)
        self._backend.remember(prediction, pinned=True, trust=1.0)

    def edit_labels(self, change: NDArray[np.float32]) -> None:
        """Objects were added or removed; see `Backend.edit_labels`."""
        if not self._backend.empty:
            self._backend.edit_labels(change)

    def encode_again(self) -> None:
        """The encoder has new weights."""
        self._backend.encode_again(lambda pixels: None)

    def find(self, pixels: NDArray[np.uint8], ids: tuple[int, ...]) -> dict[int, Found]:
        """The objects found in a frame, with their boxes and confidence."""
        if self._backend.empty:
            return {}
        features = self._backend.encode(pixels, self._view)
        prediction = self._backend.propagate(features, Search(SETTINGS, entropy=True))
        confidence = expected_overlap(prediction, ids)
        winner, count = prediction.soft.argmax(axis=0), prediction.soft.shape[0]
        boxes = dict(zip(ids, object_boxes(self._view, winner, count), strict=True))
        return {i: Found(box, confidence.get(i, 0.0)) for i in ids if (box := boxes[i]) is not None}

    def state(self) -> ContextState | None:
        """Tensors and plain values, for a snapshot; None before the first prompt."""
        return None if self._backend.empty else self._backend.state()

    def restore(self, state: ContextState | None) -> None:
        """The inverse of `state`."""
        self._backend.clear()
        if state is not None:
            self._backend.restore(state)

    def close(self) -> None:
        """Release threads and memory. The engine stays open."""
        self._backend.close()
