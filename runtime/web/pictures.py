"""Frames and label maps as the bytes that a browser shows."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 960
"""Pixels of the longer side of a live picture; larger frames are shown smaller."""
_QUALITY = 75


def jpeg(frame: NDArray[np.uint8], longest: int | None = None, quality: int = _QUALITY) -> bytes:
    """RGB (H, W, 3) as JPEG, shrunk by a whole factor to at most `longest` pixels a side."""
    from PIL import Image

    image = Image.fromarray(frame)
    if (factor := shrink_factor(frame.shape[:2], longest)) > 1:
        image = image.reduce(factor)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality)
    return file.getvalue()


def png(picture: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) or grey (H, W) as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def shrink_factor(size: tuple[int, ...], longest: int | None) -> int:
    """The whole number that brings (H, W) to at most `longest` pixels a side."""
    return 1 if longest is None else max(1, -(-max(size[:2]) // longest))


def live_message(facts: dict[str, Any], ids: NDArray[np.uint8] | None, frame: NDArray[np.uint8]) -> bytes:
    """One message to viewers: length of the JSON (uint32, little endian), JSON, PNG of the ids, JPEG of the frame.

    Args:
        facts: plain values; `mask_bytes` is added.
        ids: (H, W); None where there are none.
        frame: RGB (H, W, 3).
    """
    factor = shrink_factor(frame.shape, LONGEST)
    mask = b"" if ids is None else png(ids[::factor, ::factor])
    head = json.dumps({**facts, "mask_bytes": len(mask)}, separators=(",", ":")).encode()
    return b"".join((struct.pack("<I", len(head)), head, mask, jpeg(frame, LONGEST)))
