"""The one preprocessing of training, export and runtime, and the checks of a frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError, SourceError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE = 8


def grid_size(height: int, width: int, stride: int = STRIDE) -> tuple[int, int]:
    """Cells (h, w) of a frame of `height` x `width` pixels: sides that are not a multiple are rounded up."""
    return math.ceil(height / stride), math.ceil(width / stride)


def check_frame(frame: Any) -> NDArray[np.uint8]:
    """A frame as C-contiguous RGB uint8 (H, W, 3); anything else raises SourceError."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        what = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise SourceError(f"a frame must be RGB uint8 of shape (H, W, 3), not {what}")
    if min(frame.shape[:2]) < 16:
        raise SourceError(
            f"a frame of {size_text(frame.shape)} (height x width) is too small; both sides need 16 pixels"
        )
    return np.ascontiguousarray(frame)


def resize_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize RGB uint8 (H, W, 3) to `size` = (H, W): linear, antialiased when it shrinks (Pillow's BILINEAR)."""
    if frame.shape[:2] == size:
        return frame
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def size_text(size: tuple[int, ...]) -> str:
    """(480, 854, ...) -> `480x854`: height x width, as `parse_size` takes it and as every message has it."""
    return f"{size[0]}x{size[1]}"


def parse_size(text: str) -> tuple[int, int]:
    """`480x854` -> (480, 854): height x width, as in the command line. SettingError otherwise."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() and len(p) < 16 and 16 <= int(p) <= 8192 for p in parts):
        raise SettingError(f"size {text!r} is not HEIGHTxWIDTH in pixels, such as 480x854 (16 to 8192 a side)")
    return int(parts[0]), int(parts[1])
