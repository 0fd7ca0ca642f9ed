"""Label propagation: features of a frame and its context to soft labels (appendix F), and soft labels to ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.images import grid_size
from crwedge.core.labels import Taps, argmax_ids, linear_taps, resize_taps
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.attention import LocalAttention
from crwedge.runtime.propagation.context import ContextBuffer, whole_view
from crwedge.runtime.propagation.label_grid import unpacked
from crwedge.runtime.propagation.view import Size, View

NOT_FINITE = (
    "the encoder gave features that are not finite; its weights are damaged or too large for its precision "
    "(export the bundle again, or use --engine cpu with a float32 bundle)"
)


class LabelPropagator:
    """Soft labels of a frame from its context.

    Args:
        settings: the protocol; `crw` by default.
        workers: threads; by default every processor this process may use.
    """

    def __init__(self, settings: PropagationSettings | None = None, workers: int | None = None) -> None:
        self.settings = settings or PropagationSettings()
        self._attention = LocalAttention(workers)

    def __call__(
        self,
        features: NDArray[np.float32],
        context: ContextBuffer,
        view: View | None = None,
        settings: PropagationSettings | None = None,
        newest: int | None = None,
        entropy: NDArray[np.float32] | None = None,
        support: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Propagate to one frame; the context is not changed.

        Args:
            features: (C, h, w) float32, unit length over C.
            context: the frames to compare with.
            view: what the features cover; by default a whole frame.
            settings: another neighbourhood, k or temperature, for this frame alone.
            newest: see `ContextSlots.frames`.
            entropy: (h * w,) takes the entropy of each cell's top-k weights: 0 (one neighbour) to 1 (all alike).
            support: (h * w,) takes how alike each cell's neighbours are: see `kernels.topk_signs`.

        Returns:
            (K, h * s, w * s) float32 soft labels.

        Raises:
            CrwedgeError: the features are not finite, or of another scale than the context's.
        """
        check_features(features)
        view = view or whole_view(features)
        frames = context.frames(newest)
        if any(frame.view.size != view.size for frame in frames):
            sizes = frames[0].view.size, view.size
            raise CrwedgeError(f"features of a frame of {sizes[1]} do not fit a context of frames of {sizes[0]}")
        query = np.ascontiguousarray(features.transpose(1, 2, 0), np.float32)
        flat = self._attention(query, view, frames, context.labels, settings or self.settings, entropy, support)
        return unpacked(np.ascontiguousarray(flat.T).reshape(-1, *view.grid), self.settings.label_scale)

    def close(self) -> None:
        """End the threads."""
        self._attention.close()


def check_features(features: NDArray[np.float32]) -> None:
    """Refuse features with NaN or infinity: they would spread through the context without a sign."""
    if not np.isfinite(features).all():
        raise CrwedgeError(NOT_FINITE)


def labels_to_ids(
    soft: NDArray[np.float32],
    object_ids: tuple[int, ...],
    size: Size,
    output_norm: str = "none",
    view: View | None = None,
) -> NDArray[np.uint8]:
    """Soft labels (K, h, w) -> ids (H, W): linear resize to `size`, then the argmax.

    Args:
        soft: soft labels, channel 0 the background.
        object_ids: ids of the channels after the background.
        size: (H, W) of the frame.
        output_norm: with `minmax` each channel's resized map is stretched to 0..1 first, the background's too.
        view: what the labels cover; by default the whole frame. All else is background.
    """
    rows, columns = (slice(0, size[0]), slice(0, size[1])) if view is None else view.frame_box(size)
    full = soft.shape[1:] if view is None else grid_size(*view.size)
    origin = (0, 0) if view is None else view.origin
    down = _taps_within(rows, linear_taps(size[0], full[0], origin[0], soft.shape[1]))
    across = _taps_within(columns, linear_taps(size[1], full[1], origin[1], soft.shape[2]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return np.zeros(size, np.uint8)
    if output_norm == "minmax":
        maps = resize_taps(soft, down, across)
        low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
        extent = np.where(high > low, high - low, 1)
        found = argmax_ids(np.asarray((maps - low) / extent, np.float32), object_ids)
    else:
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        table = np.array((0, *object_ids), np.uint8)
        kernels.argmax_upsampled(np.ascontiguousarray(soft.transpose(1, 2, 0)), down, across, table, found)
    if found.shape == tuple(size):
        return found
    ids = np.zeros(size, np.uint8)
    ids[rows, columns] = found
    return ids


def _taps_within(box: slice, taps: Taps) -> Taps:
    """The taps of the samples in a slice."""
    low, high, part = taps
    return low[box], high[box], part[box]
