"""What the propagator may look back at: pinned frames and a ring of the last m, in memory that never grows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import resize_linear
from crwedge.core.settings import PropagationSettings, Storage


@dataclass(frozen=True)
class ContextFrame:
    """One frame of the context, as the attention reads it."""

    features: NDArray[np.float32] | NDArray[np.float16]
    """(h, w, C), unit length over C."""
    slot: int
    """Its labels are rows slot * h * w .. of the buffer's labels."""
    copies: int
    """How many places it fills: the last pinned frame fills each place of the ring that no later frame has taken yet."""
    pinned: bool


class ContextBuffer:
    """Features and soft labels of the frames in the context.

    Slots 0 .. `pinned` - 1 hold frames that stay (the first frame and later ones that came with a mask), the `length` slots
    after them are the ring. With `prefill` the ring starts as copies of the pinned frame: these are counted, not stored.

    Args:
        length: m, places of the ring.
        pinned: how many frames can be pinned; beyond that the oldest but the first makes way.
        storage: number format of the features.
        prefill: whether the ring starts full of the frame just pinned.
    """

    def __init__(self, length: int, pinned: int = 1, storage: Storage = "float32", prefill: bool = True) -> None:
        """An empty buffer; memory is taken when the first frame tells the sizes."""
        self.length = length
        self.max_pinned = pinned
        self.storage = np.dtype(storage)
        self.prefill = prefill
        self._features: NDArray[np.float32] | NDArray[np.float16] | None = None
        self._labels = np.zeros((0, 0, 0), np.float32)
        self._pinned: list[int] = []
        self._ring: list[int] = []
        self._copies = 0
        self._copied = 0
        self.newest: int | None = None
        """Look back at no more than so many places of the ring; None for all. What is beyond stays stored."""

    @classmethod
    def from_settings(cls, settings: PropagationSettings) -> ContextBuffer:
        """The buffer a protocol asks for."""
        return cls(settings.context_length, settings.max_pinned, settings.storage, settings.prefill)

    @property
    def labels(self) -> NDArray[np.float32]:
        """(slots * h * w, K) soft labels, channel 0 the background."""
        return self._labels.reshape(-1, self._labels.shape[2])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to look back at yet."""
        return not self._pinned

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the stored features."""
        assert self._features is not None
        return self._features.shape[1], self._features.shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, used or not."""
        return 0 if self._features is None else self._features.nbytes + self._labels.nbytes

    def frames(self) -> list[ContextFrame]:
        """The frames newest first, so that a threshold is high early; the pinned ones, oldest first, come last."""
        assert self._features is not None
        most = self.length if self.newest is None else self.newest
        found = [ContextFrame(self._features[slot], slot, 1, False) for slot in self.ring[:most]]
        copies = min(self._copies, most - len(found))
        if copies:
            found.append(ContextFrame(self._features[self._copied], self._copied, copies, False))
        found += [ContextFrame(self._features[slot], slot, 1, True) for slot in self._pinned]
        return found

    def pin(self, features: NDArray[np.float32], soft: NDArray[np.float32]) -> None:
        """Keep a frame whose labels came from outside: features (C, h, w) unit length, soft labels (K, h, w).

        The ring starts anew: full of copies of this frame when `prefill` is on, else empty. What was predicted before a
        correction would outvote it otherwise, as m frames stand against one.
        """
        if self._features is None:
            c, h, w = features.shape
            self._features = np.empty((self.max_pinned + self.length, h, w, c), self.storage)
            self._labels = np.zeros((self.max_pinned + self.length, h * w, soft.shape[0]), np.float32)
        self._ring = []
        if len(self._pinned) < self.max_pinned:
            slot = len(self._pinned)
        elif self.max_pinned == 1:
            # The only place belongs to the first frame: a later one lives in the ring alone, and leaves it some day.
            self._copies = 0
            self.append(features, soft)
            return
        else:
            slot = self._pinned.pop(1)
        self._pinned.append(slot)
        self._copies, self._copied = self.length if self.prefill else 0, slot
        self._write(slot, features, soft)

    def append(self, features: NDArray[np.float32], soft: NDArray[np.float32]) -> None:
        """Push a frame into the ring: features (C, h, w) unit length, soft labels (K, h, w); the oldest falls out."""
        if self._copies:
            self._copies -= 1
        if len(self._ring) < self.length:
            slot = min(set(range(self.max_pinned, self.max_pinned + self.length)) - set(self._ring))
        else:
            slot = self._ring.pop(0)
        self._ring.append(slot)
        self._write(slot, features, soft)

    @property
    def ring(self) -> list[int]:
        """Slots of the ring, newest first."""
        return self._ring[::-1]

    @property
    def newest_slot(self) -> int:
        """Slot of the frame that was stored last: the newest of the ring, or else the one pinned last."""
        return self._ring[-1] if self._ring else self._pinned[-1]

    def keep(self, slots: Collection[int]) -> None:
        """Forget the frames of the ring but those in `slots`, and the copies that filled it at the start."""
        self._ring = [slot for slot in self._ring if slot in slots]
        self._copies = 0

    def grow_labels(self, count: int) -> None:
        """Make room for `count` channels; the new ones are zero everywhere."""
        slots, cells, have = self._labels.shape
        if count > have:
            wider = np.zeros((slots, cells, count), np.float32)
            wider[:, :, :have] = self._labels
            self._labels = wider

    def drop_label(self, channel: int) -> None:
        """Give the cells of one channel to the background, in every frame; later channels move up."""
        self._labels[..., 0] += self._labels[..., channel]
        self._labels = np.delete(self._labels, channel, axis=2)

    def resample(self, grid: tuple[int, int]) -> None:
        """Bring every frame to another grid (h, w): features linearly and back to unit length, labels linearly."""
        assert self._features is not None
        slots, h, w, c = self._features.shape
        features = np.empty((slots, *grid, c), self.storage)
        labels = np.zeros((slots, grid[0] * grid[1], self._labels.shape[2]), np.float32)
        for slot in {*self._pinned, *self._ring}:
            fine = resize_linear(self._features[slot].astype(np.float32).transpose(2, 0, 1), grid)
            fine /= np.maximum(np.linalg.norm(fine, axis=0, keepdims=True), 1e-12)
            features[slot] = fine.transpose(1, 2, 0)
            soft = resize_linear(np.ascontiguousarray(self._labels[slot].T).reshape(-1, h, w), grid)
            labels[slot] = soft.reshape(soft.shape[0], -1).T
        self._features, self._labels = features, labels

    def pinned_copies(self) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
        """Features (h, w, C) and labels (h * w, K) of each pinned slot, copied."""
        assert self._features is not None
        return {slot: (self._features[slot].copy(), self._labels[slot].copy()) for slot in self._pinned}

    def renew(self, copies: Mapping[int, tuple[NDArray[Any], NDArray[Any]]]) -> None:
        """Put back what `pinned_copies` gave, where the slot is still pinned and has the same shapes."""
        assert self._features is not None
        for slot, (features, labels) in copies.items():
            same = features.shape == self._features.shape[1:] and labels.shape == self._labels.shape[1:]
            if slot in self._pinned and same:
                self._features[slot], self._labels[slot] = features, labels

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Copies of all frames in use, and where they stand: what `restore` takes."""
        assert self._features is not None
        slots = sorted({*self._pinned, *self._ring})
        tensors = {"features": self._features[slots], "labels": self._labels[slots]}
        places = {"slots": slots, "pinned": self._pinned, "ring": self._ring}
        return tensors, {**places, "copies": self._copies, "copied": self._copied, "length": self.length}

    def restore(self, tensors: Mapping[str, NDArray[Any]], places: Mapping[str, Any]) -> None:
        """Go on from a `state` of a buffer of the same settings.

        Raises:
            ValueError: it is of other settings, or does not fit together.
        """
        features, labels, slots = tensors["features"], tensors["labels"], [int(s) for s in places["slots"]]
        total, (count, h, w, c) = self.max_pinned + self.length, features.shape
        pinned, ring = [int(s) for s in places["pinned"]], [int(s) for s in places["ring"]]
        fits = count == len(slots) == labels.shape[0] and labels.shape[1] == h * w and places["length"] == self.length
        if not fits or sorted({*pinned, *ring}) != slots or not pinned or features.dtype != self.storage:
            raise ValueError("the context does not fit together")
        if max(pinned) >= self.max_pinned or not all(self.max_pinned <= slot < total for slot in ring):
            raise ValueError("a frame of the context stands where none can")
        self._features = np.empty((total, h, w, c), self.storage)
        self._labels = np.zeros((total, h * w, labels.shape[2]), np.float32)
        self._features[slots], self._labels[slots] = features, labels
        self._pinned, self._ring = pinned, ring
        self._copies, self._copied = int(places["copies"]), int(places["copied"])

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        self._features, self._labels = None, np.zeros((0, 0, 0), np.float32)
        self._pinned, self._ring, self._copies, self._copied = [], [], 0, 0

    def _write(self, slot: int, features: NDArray[np.float32], soft: NDArray[np.float32]) -> None:
        assert self._features is not None
        self._features[slot] = features.transpose(1, 2, 0)
        self._labels[slot] = soft.reshape(soft.shape[0], -1).T


def memory_formula(settings: PropagationSettings, grid: tuple[int, int], channels: int, labels: int) -> tuple[str, int]:
    """What the context will take: the formula in words and figures, and its value in bytes."""
    width = np.dtype(settings.storage).itemsize
    (h, w), m, p = grid, settings.context_length, settings.max_pinned
    total = (m + p) * h * w * (channels * width + labels * 4)
    text = (
        f"context memory = (m + pinned) x h x w x (C x {width} + K x 4 bytes) = "
        f"({m} + {p}) x {h} x {w} x ({channels} x {width} + {labels} x 4) = {total / 1e6:.1f} MB"
    )
    return text, total
