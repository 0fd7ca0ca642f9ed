"""Encoder, context and propagation on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import ContextState, Features, Prediction, Search
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.propagation.confidence import Signs, object_signs
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.label_grid import cell_means
from crwedge.runtime.propagation.propagator import LabelPropagator, check_features, labels_to_ids
from crwedge.runtime.propagation.view import Size, View


@dataclass(frozen=True, eq=False)
class CpuFeatures:
    """Features of one frame in host memory."""

    values: NDArray[np.float32]
    """(C, h, w), unit length over C."""
    view: View
    pixels: NDArray[np.uint8] = field(repr=False)
    """The frame they were computed from, RGB uint8 (H, W, 3)."""

    @property
    def channels(self) -> int:
        """C."""
        return int(self.values.shape[0])

    def numpy(self) -> NDArray[np.float32]:
        """(C, h, w)."""
        return self.values


@dataclass(frozen=True, eq=False)
class CpuPrediction:
    """Soft labels of one frame in host memory."""

    features: Features
    fine: NDArray[np.float32]
    context: ContextBuffer = field(repr=False)
    settings: PropagationSettings = field(repr=False)
    entropy: NDArray[np.float32] | None = field(default=None, repr=False)
    support: NDArray[np.float32] | None = field(default=None, repr=False)

    @cached_property
    def soft(self) -> NDArray[np.float32]:
        """See `Prediction.soft`."""
        return cell_means(self.fine, self.settings.label_scale)

    def ids(self, object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """See `Prediction.ids`."""
        view = self.features.view.finer(self.settings.label_scale)
        return labels_to_ids(self.fine, object_ids, size, self.settings.output_norm, view)

    def confidence_signs(self) -> list[Signs | None]:
        """See `Prediction.confidence_signs`."""
        found: list[Signs | None] = [None] * (self.fine.shape[0] - 1)
        for pinned in reversed([frame for frame in self.context.frames() if frame.pinned]):
            signs = object_signs(
                self.features.numpy(),
                self.soft,
                self.entropy,
                pinned.features,
                self.context.labels_of(pinned),
                self.settings,
            )
            found = [have or new for have, new in zip(found, signs, strict=True)]
            if all(found):
                break
        return found


class CpuBackend:
    """See `Backend`.

    Args:
        engine: encodes.
        settings: the protocol.
        workers: threads of the propagation; by default every processor this process may use.
        keep_frames: keep the pixels of the context's frames, for `encode_again`.
    """

    on_device = False

    def __init__(
        self, engine: Engine, settings: PropagationSettings, workers: int | None = None, keep_frames: bool = False
    ) -> None:
        self.settings = settings
        self.engine = engine
        self._context = ContextBuffer(settings, keep_frames)
        self._propagator = LabelPropagator(settings, workers)

    @property
    def empty(self) -> bool:
        """See `Backend.empty`."""
        return self._context.empty

    @property
    def nbytes(self) -> int:
        """See `Backend.nbytes`."""
        return self._context.nbytes

    def encode(self, frame: NDArray[np.uint8], view: View) -> CpuFeatures:
        """See `Backend.encode`."""
        return CpuFeatures(view.without_halo(self.engine.run(view.encoded.pixels(frame))), view, frame)

    def propagate(self, features: Features, search: Search) -> CpuPrediction:
        """See `Backend.propagate`."""
        entropy = np.empty(features.view.cells, np.float32) if search.entropy else None
        support = np.empty(features.view.cells, np.float32) if search.support else None
        soft = self._propagator(
            features.numpy(), self._context, features.view, search.settings, search.newest, entropy, support
        )
        return self._prediction(
            features, soft, entropy, None if support is None else support.reshape(features.view.grid)
        )

    def label(self, features: Features, soft: NDArray[np.float32]) -> CpuPrediction:
        """See `Backend.label`."""
        check_features(features.numpy())
        return self._prediction(features, soft)

    def relabel(self, prediction: Prediction, soft: NDArray[np.float32]) -> CpuPrediction:
        """See `Backend.relabel`."""
        entropy = prediction.entropy if isinstance(prediction, CpuPrediction) else None
        return self._prediction(prediction.features, soft, entropy, prediction.support)

    def remember(self, prediction: Prediction, *, pinned: bool, trust: float) -> None:
        """See `Backend.remember`."""
        features = prediction.features
        add = self._context.pin if pinned else self._context.append
        add(features.numpy(), prediction.fine, features.view, trust, features.pixels)

    def keep_trusted(self, trust: float, count: int) -> None:
        """See `Backend.keep_trusted`."""
        self._context.slots.keep_trusted(trust, count)

    def edit_labels(self, change: NDArray[np.float32]) -> None:
        """See `Backend.edit_labels`."""
        self._context.edit_labels(change)

    def encode_again(self, known: Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]) -> None:
        """See `Backend.encode_again`."""

        def encoded(pixels: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
            found = known(pixels)
            return found if found is not None and found.shape[1:] == view.grid else self.encode(pixels, view).values

        self._context.encode_again(encoded)

    def rescale(self, view: View, cells: int) -> None:
        """See `Backend.rescale`."""
        self._context.rescale(view, cells, lambda pixels, view: self.encode(pixels, view).values)

    def use(self, engine: Engine) -> None:
        """See `Backend.use`."""
        if engine is not self.engine:
            self.engine.close()
            self.engine = engine

    def state(self) -> ContextState:
        """See `Backend.state`."""
        return ContextState(*self._context.state())

    def restore(self, state: ContextState) -> None:
        """See `Backend.restore`."""
        self._context.restore(state.tensors, state.facts)

    def clear(self) -> None:
        """See `Backend.clear`."""
        self._context.clear()

    def close(self) -> None:
        """See `Backend.close`."""
        self._propagator.close()
        self._context.clear()
        self.engine.close()

    def _prediction(
        self,
        features: Features,
        soft: NDArray[np.float32],
        entropy: NDArray[np.float32] | None = None,
        support: NDArray[np.float32] | None = None,
    ) -> CpuPrediction:
        return CpuPrediction(features, soft, self._context, self.settings, entropy, support)
