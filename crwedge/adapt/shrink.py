"""Frames as the trainer sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import resize_frame
from crwedge.core.pictures import shrunk


def shrink(frame: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """The frame (H, W, 3) with its short side at most `short_side` pixels."""
    return resize_frame(frame, shrunk(frame.shape[0], frame.shape[1], short_side))
