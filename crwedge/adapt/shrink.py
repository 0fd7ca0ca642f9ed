"""Frames as the trainer sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import resize_frame


def shrink(frame: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """The frame (H, W, 3) with its short side at most `short_side` pixels."""
    height, width = frame.shape[:2]
    scale = short_side / min(height, width)
    return frame if scale >= 1 else resize_frame(frame, (round(height * scale), round(width * scale)))
