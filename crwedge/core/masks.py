"""Masks as files and as run lengths: palette PNG, value = object id, 0 background, 255 void."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.files import atomic_write
from crwedge.core.images import size_text

VOID = 255
"""Marks pixels of which nothing is known; never an object."""


@cache
def palette() -> NDArray[np.uint8]:
    """The usual colours of video object segmentation, (256, 3) RGB: the bits of an id, spread over the channels.

    Made once, as every mask that is written needs it; read-only.
    """
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        value = index
        for bit in range(7, -1, -1):
            for channel in range(3):
                colours[index, channel] |= ((value >> channel) & 1) << bit
            value >>= 3
    colours.flags.writeable = False
    return colours


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read object ids (H, W) uint8: 0 background, 1..254 objects, 255 void.

    A palette PNG gives its indices, a grey one its values. A grey picture that holds only 0 and 255 is a binary mask of
    object 1.

    Raises:
        MaskError: the file is missing, no picture, in colour, or holds ids above 255.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise MaskError(f"there is no mask file {path}")
    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
            values = np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise MaskError(f"{path} cannot be read as a picture ({error})") from error
    if mode == "1":
        return np.asarray(values, np.uint8)
    if mode not in ("P", "L") and not mode.startswith("I"):
        raise MaskError(
            f"{path} is a colour picture ({mode}); a mask is a palette or grey PNG whose values are object ids "
            "(save it with an indexed palette)"
        )
    if mode not in ("P", "L") and (values.min() < 0 or values.max() > 255):
        raise MaskError(f"{path} holds the id {values.max()}; at most 254 objects fit one mask")
    ids = np.asarray(values, np.uint8)
    if mode != "P" and bool((ids == 255).any()) and bool(np.isin(ids, (0, 255)).all()):
        return np.asarray(ids == 255, np.uint8)
    return ids


def object_ids(mask: NDArray[np.uint8]) -> tuple[int, ...]:
    """The ids of a mask in rising order, without background and void."""
    present = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    return tuple(int(i) for i in present if i not in (0, VOID))


def check_mask(mask: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask fit for a frame of `size` = (H, W): uint8, same size, at least one object.

    Raises:
        MaskError: with the cure.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2:
        raise MaskError("a mask must be an array (H, W) of object ids")
    if mask.dtype == np.bool_:
        mask = mask.astype(np.uint8)
    if mask.dtype != np.uint8:
        if not np.issubdtype(mask.dtype, np.integer):
            raise MaskError(f"a mask holds whole numbers (object ids), not {mask.dtype}")
        if mask.size and (mask.min() < 0 or mask.max() > 255):
            raise MaskError(f"the mask holds the id {mask.max()}; ids go from 0 to 254, 255 is void")
        mask = mask.astype(np.uint8)
    if mask.shape != size:
        raise MaskError(
            f"the mask is {size_text(mask.shape)} (height x width), the frame {size_text(size)}: "
            "paint it on the frame, or let it be resized (--resize-mask, read_mask + resize_mask)"
        )
    if not object_ids(mask):
        raise MaskError("the mask is empty: it holds no object id from 1 to 254")
    return np.ascontiguousarray(mask)


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize ids to `size` = (H, W) by the nearest pixel, so that no id is invented."""
    from PIL import Image

    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))


def write_mask(path: str | Path, ids: NDArray[np.uint8]) -> None:
    """Write ids (H, W) uint8 as a palette PNG, whole or not at all."""
    from PIL import Image

    image = Image.fromarray(ids, mode=None).convert("L")
    image.putpalette(palette().tobytes())
    with atomic_write(Path(path)) as file:
        image.save(file, format="PNG", compress_level=1)


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A boolean mask (H, W) as COCO's compressed run lengths: {"size": [H, W], "counts": text}.

    Runs go down the columns and start with a run of zeros. Counts after the third are written as differences to the one
    two before, in base 32 with a continuation bit, as characters from '0' on: what pycocotools reads.
    """
    flat = np.asarray(mask, np.uint8).reshape(-1, order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    counts = np.diff(edges).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            low = value & 0x1F
            value >>= 5
            more = value != (-1 if low & 0x10 else 0)
            text.append(chr((low | 0x20 if more else low) + 48))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": "".join(text)}


def decode_rle(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The inverse of `encode_rle`: (H, W) bool."""
    height, width = rle["size"]
    counts: list[int] = []
    value, shift = 0, 0
    for character in rle["counts"]:
        part = ord(character) - 48
        value |= (part & 0x1F) << shift
        shift += 5
        if not part & 0x20:
            if part & 0x10:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value, shift = 0, 0
    runs = np.zeros(height * width, np.bool_)
    start = 0
    for index, count in enumerate(counts):
        if index % 2:
            runs[start : start + count] = True
        start += count
    return runs.reshape((height, width), order="F")
