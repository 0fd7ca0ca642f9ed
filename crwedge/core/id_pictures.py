"""Pictures of object ids that come from outside, checked before they are decoded: a small file can claim a large picture."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.images import size_text
from crwedge.core.palette import palette
from crwedge.core.pictures import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6


class PictureError(MaskError):
    """A body is not a picture of ids."""


class PictureSizeError(MaskError):
    """A picture of ids is of another size than the frame."""


def read_ids(data: bytes, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Object ids (H, W) of a PNG. Its header is checked before anything is decoded.

    Args:
        data: a PNG of 8 bits: grey or palette whose values are ids, or colours with red = green = blue = id.
        size: (H, W) that it must have; by default any that is not too large.

    Raises:
        PictureError, PictureSizeError: it is something else, with the cure.
    """
    if len(data) < 33 or data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise PictureError("the body is not a PNG: send image/png with 8-bit object ids")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    depth, kind = data[24], data[25]
    if size is None and not 0 < height * width <= MAX_PIXELS:
        raise PictureSizeError(f"the PNG is {size_text((height, width))} (height x width): shrink it first")
    if size is not None and (height, width) != size:
        raise PictureSizeError(f"the PNG is {size_text((height, width))} (height x width), the frame {size_text(size)}")
    if depth != 8 or kind not in (_GREY, _RGB, _PALETTE, _RGBA):
        raise PictureError("the PNG must have 8 bits: grey or palette values that are object ids")
    values = _decode(data)
    if values.shape[:2] != (height, width):
        raise PictureError("the PNG does not hold the picture that its header promises")
    if kind in (_RGB, _RGBA):
        ids = values[..., 0]
        if (values[..., 1] != ids).any() or (values[..., 2] != ids).any() or (values[..., 3:] != 255).any():
            raise PictureError("the PNG has colours: send ids as grey values (red = green = blue = id, opaque)")
        values = ids
    return np.ascontiguousarray(values, np.uint8)


def write_ids(ids: NDArray[np.uint8]) -> bytes:
    """Ids (H, W) as a palette PNG."""
    from PIL import Image

    image = Image.fromarray(ids).convert("L")
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _decode(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                return np.asarray(image, np.uint8)
    except Exception as error:
        # Pillow raises whatever the damage leads to.
        raise PictureError("the PNG is damaged: send it again") from error
