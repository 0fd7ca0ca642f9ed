"""Features and soft labels of the frames that a frame is compared with, in host memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.label_grid import label_rows, packed_change, row_means
from crwedge.runtime.propagation.rescale import kept_part, resample_features, resample_labels
from crwedge.runtime.propagation.slots import ContextSlots
from crwedge.runtime.propagation.view import Size, View

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class StoredFrame:
    """One frame of the context, as the attention reads it."""

    features: NDArray[np.float32] | NDArray[np.float16]
    """(h, w, C), unit length over C."""
    first_entry: int
    """Row of its cell 0 among the context's labels."""
    view: View
    copies: int
    """How many places of the ring it fills."""
    pinned: bool


class ContextBuffer:
    """Features and soft labels of the pinned frames and of the last m.

    Memory is taken with the first frame, and again only when a later view has more cells than any before it.

    Args:
        settings: `context_length` (m), `max_pinned`, `prefill` and `storage` are used.
        keep_frames: keep the pixels of each frame too, so that it can be encoded again.
    """

    def __init__(self, settings: PropagationSettings, keep_frames: bool = False) -> None:
        self.slots = ContextSlots(settings, keep_frames)
        self.storage = np.dtype(settings.storage)
        self._features: NDArray[Any] = np.zeros((0, 0, 0), self.storage)
        self._labels = np.zeros((0, 0, 0), np.float32)
        self._budget, self._scale = settings.cells or 0, settings.label_scale

    @property
    def labels(self) -> NDArray[np.float32]:
        """(slots * capacity, K * s * s) soft labels of the cells' parts, see `packed`; channel 0 is the background."""
        return self._labels.reshape(-1, self._labels.shape[2])

    @property
    def empty(self) -> bool:
        """Whether the context is still empty."""
        return self.slots.empty

    @property
    def capacity(self) -> int:
        """Cells that a slot can hold."""
        return int(self._features.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, used or not, without the pixels."""
        return self._features.nbytes + self._labels.nbytes

    def frames(self, newest: int | None = None) -> list[StoredFrame]:
        """The frames newest first, the pinned ones last; see `ContextSlots.frames`."""
        return [
            StoredFrame(self._cells(f.slot, f.view), f.slot * self.capacity, f.view, f.copies, f.pinned)
            for f in self.slots.frames(newest)
        ]

    def labels_of(self, frame: StoredFrame) -> NDArray[np.float32]:
        """(h * w, K) soft labels of the cells of one frame."""
        return row_means(self.labels[frame.first_entry : frame.first_entry + frame.view.cells], self._scale)

    def pin(
        self,
        features: NDArray[np.float32],
        soft: NDArray[np.float32],
        view: View | None = None,
        trust: float = 1.0,
        pixels: Pixels | None = None,
    ) -> None:
        """Keep a frame whose labels came from outside; see `ContextSlots.pin`.

        Args:
            features: (C, h, w), unit length over C.
            soft: (K, h * s, w * s) soft labels.
            view: what they cover; by default a whole frame.
            trust: see `keep_trusted`.
            pixels: RGB uint8 (H, W, 3), used where frames are kept.
        """
        view = view or whole_view(features)
        slot = self.slots.pin(view, trust, pixels)
        self._write(slot, view, features, soft)

    def append(
        self,
        features: NDArray[np.float32],
        soft: NDArray[np.float32],
        view: View | None = None,
        trust: float = 1.0,
        pixels: Pixels | None = None,
    ) -> None:
        """Push a frame into the ring, whose oldest falls out when it is full; arguments as for `pin`."""
        view = view or whole_view(features)
        self._write(self.slots.append(view, trust, pixels), view, features, soft)

    def edit_labels(self, change: NDArray[np.float32]) -> None:
        """Multiply the labels of every frame with `change` (K, K')."""
        change = packed_change(change, self._scale)
        self._labels = np.ascontiguousarray(self._labels @ change)
        self.slots.edit_first(change)

    def encode_again(self, encode: Callable[[Pixels, View], NDArray[np.float32]]) -> None:
        """Write new features (C, h, w) of every frame whose pixels were kept; labels stay."""
        for slot in self.slots.in_use:
            pixels, view = self.slots.pixels(slot), self.slots.view(slot)
            if pixels is not None:
                self._cells(slot, view)[...] = encode(pixels, view).transpose(1, 2, 0)

    def rescale(self, view: View, cells: int, encode: Callable[[Pixels, View], NDArray[np.float32]]) -> None:
        """Convert every frame to the scale of a view.

        The pinned frames, which every later frame is compared with, are encoded again. Features of the ring's frames are
        resampled. Labels are resampled from those that each frame first had. A frame that would then have more than
        `cells` cells, or more than a slot holds, keeps those nearest to the view.
        """
        found = []
        for slot in self.slots.in_use:
            old, pixels = self.slots.view(slot), self.slots.pinned_pixels(slot)
            first = self.slots.first_labels(slot, self._labels[slot, : old.cells])
            new = kept_part(first.view, old if pixels is None else None, view, min(cells, self.capacity))
            labels = resample_labels(first.labels, first.view, new, self._scale)
            if pixels is not None:
                features = encode(pixels, new).transpose(1, 2, 0).reshape(new.cells, -1)
            else:
                features = resample_features(self._features[slot, : old.cells].astype(np.float32), old, new)
            found.append((slot, new, features, labels))
        for slot, new, features, labels in found:
            self.slots.set_view(slot, new)
            self._features[slot, : new.cells] = features
            self._labels[slot, : new.cells] = labels

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Copies of all frames in use, and plain values: what `restore` takes. See `ContextState`."""
        slots = self.slots.in_use
        tensors = {"features": self._features[slots], "labels": self._labels[slots]}
        for row, slot in enumerate(slots):
            for values in tensors.values():
                values[row, self.slots.view(slot).cells :] = 0
        return {**tensors, **self.slots.tensors()}, {"slots": slots, **self.slots.state()}

    def restore(self, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Go on from a `state` of a buffer of the same settings.

        Raises:
            ValueError: it is of other settings, or does not fit together.
        """
        features, labels, rows = tensors["features"], tensors["labels"], [int(s) for s in facts["slots"]]
        self.slots.restore(facts, tensors)
        capacity = features.shape[1]
        fits = features.shape[:2] == labels.shape[:2] == (len(rows), capacity) and features.dtype == self.storage
        if not fits or rows != self.slots.in_use or any(self.slots.view(s).cells > capacity for s in rows):
            self.clear()
            raise ValueError("the context does not fit together")
        self._features = np.zeros((self.slots.total, max(capacity, self._budget), features.shape[2]), self.storage)
        self._labels = np.zeros((*self._features.shape[:2], labels.shape[2]), np.float32)
        self._features[rows, :capacity], self._labels[rows, :capacity] = features, labels

    def clear(self) -> None:
        """Forget everything and release the memory."""
        self.slots.clear()
        self._features, self._labels = np.zeros((0, 0, 0), self.storage), np.zeros((0, 0, 0), np.float32)

    def _cells(self, slot: int, view: View) -> NDArray[Any]:
        return self._features[slot, : view.cells].reshape(*view.grid, -1)

    def _write(self, slot: int, view: View, features: NDArray[np.float32], soft: NDArray[np.float32]) -> None:
        labels = label_rows(soft, self._scale)
        channels, count = features.shape[0], labels.shape[1]
        if view.cells > self.capacity:
            self._grow(max(view.cells, self._budget), channels, count)
        self._cells(slot, view)[...] = features.transpose(1, 2, 0)
        self._labels[slot, : view.cells, :count] = labels
        self._labels[slot, : view.cells, count:] = 0

    def _grow(self, capacity: int, channels: int, count: int) -> None:
        features, labels = self._features, self._labels
        # Nothing reads a slot before it is written: the pages of slots that stay empty are never touched.
        self._features = np.empty((self.slots.total, capacity, channels), self.storage)
        self._labels = np.zeros((self.slots.total, capacity, max(count, labels.shape[2])), np.float32)
        if features.size:
            self._features[:, : features.shape[1]] = features
            self._labels[:, : labels.shape[1], : labels.shape[2]] = labels


def whole_view(features: NDArray[np.float32]) -> View:
    """The view of features (C, h, w) of a whole frame whose size in pixels does not matter."""
    return View.whole((8 * features.shape[1], 8 * features.shape[2]))


def memory_formula(
    settings: PropagationSettings, cells: int, channels: int, labels: int, frame: Size | None = None
) -> tuple[str, int]:
    """Memory of the context: the formula in words and figures, and its value in bytes.

    Args:
        settings: the protocol.
        cells: of a frame, at most.
        channels: C of the features.
        labels: K, the background included.
        frame: (H, W), counted where the settings keep the pixels of the pinned frames.
    """
    labels *= settings.label_scale**2
    # Where the scale may change, the labels that each frame first had are kept beside those it has.
    width, per_label = np.dtype(settings.storage).itemsize, 4 if settings.cells is None else 8
    m, p = settings.context_length, settings.max_pinned
    total = (m + p) * cells * (channels * width + labels * per_label)
    text = (
        f"context memory = (m + pinned) x cells x (C x {width} + K x {per_label} bytes) = "
        f"({m} + {p}) x {cells} x ({channels} x {width} + {labels} x {per_label}) = {total / 1e6:.1f} MB"
    )
    if settings.cells is not None and frame is not None:
        pixels = p * frame[0] * frame[1] * 3
        total += pixels
        text += f" + pinned x H x W x 3 = {p} x {frame[0]} x {frame[1]} x 3 = {pixels / 1e6:.1f} MB of frames"
    return text, total
