"""Label propagation: features of a frame and its context to soft labels (appendix F)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import argmax_ids, linear_taps, resize_linear
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.attention import LocalAttention
from crwedge.runtime.propagation.context import ContextBuffer


class LabelPropagator:
    """Soft labels of a frame from its context.

    Args:
        settings: the protocol; `crw` by default.
        workers: threads; by default every processor this process may use.
    """

    def __init__(self, settings: PropagationSettings | None = None, workers: int | None = None) -> None:
        """Nothing is computed yet."""
        self.settings = settings or PropagationSettings()
        self._attention = LocalAttention(self.settings, workers)

    def __call__(self, features: NDArray[np.float32], context: ContextBuffer) -> NDArray[np.float32]:
        """Propagate to one frame; the context is not changed.

        Args:
            features: (C, h, w) float32, unit length over C.
            context: the frames to look back at, with the same C, h, w.

        Returns:
            (K, h, w) float32 soft labels.

        Raises:
            CrwedgeError: the features are not finite, or their grid is not the context's.
        """
        check_features(features)
        if features.shape[1:] != context.grid:
            raise CrwedgeError(f"features of grid {features.shape[1:]} do not fit a context of grid {context.grid}")
        query = np.ascontiguousarray(features.transpose(1, 2, 0), np.float32)
        flat = self._attention(query, context.frames(), context.labels)
        return np.ascontiguousarray(flat.T).reshape(-1, *context.grid)

    def measure(self, on: bool = True) -> None:
        """Keep the entropy of the top-k weights of each call in `spread`."""
        self._attention.measure = on

    @property
    def spread(self) -> NDArray[np.float32] | None:
        """(h * w,) entropy of each cell's top-k weights at the last call, 0 (one neighbour) to 1 (all alike)."""
        return self._attention.spread

    def close(self) -> None:
        """End the threads."""
        self._attention.close()


def check_features(features: NDArray[np.float32]) -> None:
    """Refuse features with NaN or infinity: they would spread through the context without a sign."""
    if not np.isfinite(features).all():
        raise CrwedgeError(
            "the encoder gave features that are not finite; its weights are damaged or too large for its precision "
            "(export the bundle again, or use --engine cpu with a float32 bundle)"
        )


def labels_to_ids(
    soft: NDArray[np.float32], object_ids: tuple[int, ...], size: tuple[int, int], output_norm: str = "none"
) -> NDArray[np.uint8]:
    """Soft labels (K, h, w) -> ids (H, W): linear resize to `size`, then the argmax.

    With `minmax` each object's resized map is stretched to 0..1 first, the background's too.
    """
    if output_norm == "minmax":
        maps = resize_linear(soft, size)
        low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
        spread = np.where(high > low, high - low, 1)
        return argmax_ids(np.asarray((maps - low) / spread, np.float32), object_ids)
    out = np.empty(size, np.uint8)
    table = np.array((0, *object_ids), np.uint8)
    cells = np.ascontiguousarray(soft.transpose(1, 2, 0))
    kernels.argmax_upsampled(
        cells, linear_taps(size[0], soft.shape[1]), linear_taps(size[1], soft.shape[2]), table, out
    )
    return out
