"""Features and soft labels of one frame in device memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Features
from crwedge.runtime.backends.cuda.kernels import Kernels, LabelMemory
from crwedge.runtime.backends.cuda.memory import Block, DeviceMemory
from crwedge.runtime.propagation.confidence import Signs
from crwedge.runtime.propagation.label_grid import cell_means, unpacked
from crwedge.runtime.propagation.propagator import NOT_FINITE, labels_to_ids
from crwedge.runtime.propagation.view import Size, View

Measured = tuple[Block | None, Block | None]
"""Entropy of the top-k weights and `Prediction.support`, (h * w) float32, each where it was asked for."""


class FeatureBlock:
    """Where the features of one frame lie; the memory is free again when the last reference goes.

    Args:
        memory: the device.
        cells: cells that there is room for.
        view: what the features cover.
        channels: C.
    """

    def __init__(self, memory: DeviceMemory, cells: int, view: View, channels: int) -> None:
        self.view, self.channels, self.memory = view, channels, memory
        self._block = memory.take(self.nbytes(cells, channels))
        self.address = self._block.address
        """Of (h * w, C) float16."""
        self.flag = self.address + self._block.size - 16
        """Address of an int32 that is 1 when a feature is not finite."""

    @staticmethod
    def nbytes(cells: int, channels: int) -> int:
        """Bytes for features of so many cells."""
        return -(-cells * channels * 2 // 16) * 16 + 16

    def numpy(self) -> NDArray[np.float16]:
        """(h, w, C) on the host."""
        host = np.empty((*self.view.grid, self.channels), np.float16)
        self.memory.driver.download(host, self.address, self.memory.stream)
        return host

    def check(self) -> None:
        """Raise CrwedgeError when a feature is not finite."""
        if not self._finite:
            raise CrwedgeError(NOT_FINITE)

    @cached_property
    def _finite(self) -> bool:
        flag = np.empty(1, np.int32)
        self.memory.driver.download(flag, self.flag, self.memory.stream)
        return not flag[0]


@dataclass(frozen=True)
class StoredFrame:
    """Where the features and labels of one context frame lie."""

    features: FeatureBlock
    labels: Block


@dataclass(frozen=True, eq=False)
class CudaFeatures:
    """See `Features`."""

    block: FeatureBlock
    pixels: NDArray[np.uint8]

    @property
    def view(self) -> View:
        """See `Features.view`."""
        return self.block.view

    @property
    def channels(self) -> int:
        """See `Features.channels`."""
        return self.block.channels

    def numpy(self) -> NDArray[np.float32]:
        """See `Features.numpy`; rounded to float16."""
        return np.ascontiguousarray(self.block.numpy().transpose(2, 0, 1), np.float32)


class CudaPrediction:
    """See `Prediction`.

    Args:
        features: what was labelled.
        kernels: of the device.
        labels: (h * w, count) float32, see `packed`.
        bitmask: (h * w, bitmask_words) uint32.
        count: K * s * s.
        settings: the protocol.
        measured: see `Measured`.
        signs: gives the confidence signs of a prediction.
    """

    def __init__(
        self,
        features: Features,
        kernels: Kernels,
        labels: Block,
        bitmask: Block,
        count: int,
        settings: PropagationSettings,
        measured: Measured,
        signs: Callable[[CudaPrediction], list[Signs | None]],
    ) -> None:
        self.features, self.labels, self.count = features, labels, count
        self.memory = kernels.memory
        self._kernels, self._bitmask, self._settings = kernels, bitmask, settings
        self.measured, self._signs = measured, signs

    @cached_property
    def soft(self) -> NDArray[np.float32]:
        """See `Prediction.soft`."""
        return cell_means(self.fine, self._settings.label_scale)

    @cached_property
    def fine(self) -> NDArray[np.float32]:
        """See `Prediction.fine`."""
        rows = self._download(self.labels, self.count)
        channels = np.ascontiguousarray(rows.T).reshape(self.count, *self.features.view.grid)
        return unpacked(channels, self._settings.label_scale)

    @property
    def entropy(self) -> NDArray[np.float32] | None:
        """(h * w,) entropy of the top-k weights on the host, or None."""
        entropy, _ = self.measured
        return None if entropy is None else self._download(entropy, 1)[:, 0]

    @cached_property
    def support(self) -> NDArray[np.float32] | None:
        """See `Prediction.support`."""
        _, support = self.measured
        return None if support is None else self._download(support, 1).reshape(self.features.view.grid)

    def ids(self, object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """See `Prediction.ids`. Labels that are finer than cells are resized on the host."""
        view, norm, s = self.features.view, self._settings.output_norm, self._settings.label_scale
        if s > 1:
            return labels_to_ids(self.fine, object_ids, size, norm, view.finer(s))
        labels = LabelMemory(self.labels.address, self._bitmask.address, self.count)
        return self._kernels.upsample_argmax(labels, view, object_ids, size, norm == "minmax")

    def confidence_signs(self) -> list[Signs | None]:
        """See `Prediction.confidence_signs`."""
        return self._signs(self)

    def _download(self, block: Block, columns: int) -> NDArray[np.float32]:
        host = np.empty((self.features.view.cells, columns), np.float32)
        self.memory.driver.download(host, block.address, self.memory.stream)
        return host
