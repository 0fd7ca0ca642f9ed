"""Encode the context again, after the encoder's weights have changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.propagation.context import ContextBuffer

Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Known = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]


class ContextImages:
    """The frames behind the features of a context, slot by slot: (m + pinned) x H x W x 3 bytes."""

    def __init__(self) -> None:
        """Nothing is held."""
        self._images: dict[int, NDArray[np.uint8]] = {}

    def note(self, context: ContextBuffer, image: NDArray[np.uint8], pinned: bool) -> None:
        """Remember the frame (H, W, 3) that was just pinned, or else appended."""
        if context.max_pinned == 1 and self._images:
            pinned = False  # the one place is the first frame's; a later one went into the ring
        slots = [frame.slot for frame in context.frames() if frame.pinned == pinned]
        if slots:
            # Newest first in the ring, newest last among the pinned.
            self._images[slots[-1] if pinned else slots[0]] = image

    def encode_again(self, context: ContextBuffer, known: Known, encode: Encode) -> None:
        """Write new features into the context, those that are `known` and the rest encoded here; labels stay."""
        if context.empty:
            return
        for slot, features in {frame.slot: frame.features for frame in context.frames()}.items():
            if slot in self._images:
                image = self._images[slot]
                fresh = known(image)
                if fresh is None or fresh.shape[1:] != features.shape[:2]:
                    fresh = encode(image)  # not known, or known at another size than the context's
                features[...] = fresh.transpose(1, 2, 0)

    def clear(self) -> None:
        """Forget all."""
        self._images.clear()
