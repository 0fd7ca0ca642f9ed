"""What the propagator may look back at: pinned frames and a ring of the last m, in memory that never grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        found = [ContextFrame(self._features[slot], slot, 1, False) for slot in reversed(self._ring)]
        if self._copies:
            found.append(ContextFrame(self._features[self._copied], self._copied, self._copies, False))
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
            slot = self.max_pinned + len(self._ring)
        else:
            slot = self._ring.pop(0)
        self._ring.append(slot)
        self._write(slot, features, soft)

    def grow_labels(self, count: int) -> None:
        """Make room for `count` channels; the new ones are zero everywhere."""
        slots, cells, have = self._labels.shape
        if count > have:
            wider = np.zeros((slots, cells, count), np.float32)
            wider[:, :, :have] = self._labels
            self._labels = wider

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
