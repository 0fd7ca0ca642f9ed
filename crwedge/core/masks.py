"""Masks as files and as arrays: value = object id, 0 background, 255 void."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.files import atomic_write
from crwedge.core.images import size_text
from crwedge.core.mask_pictures import VOID, MaskPicture, mask_of_colours, mask_of_image
from crwedge.core.palette import palette
from crwedge.core.pictures import one_line, open_image

__all__ = [
    "VOID",
    "check_mask",
    "describe_mask",
    "object_ids",
    "palette",
    "read_label_ids",
    "read_mask",
    "resize_mask",
    "small_objects",
    "write_mask",
]


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read object ids (H, W) uint8: 0 background, 1..254 objects, 255 void.

    Label pictures (palette, grey, 16 bit), black and white with hard or soft edges, and painted colours are read: see
    `crwedge.core.mask_pictures`. `*.npy`, and `*.npz` of one array, are read as `check_mask` reads arrays. The logger
    `crwedge` reports an interpretation that is not obvious.

    Raises:
        MaskError: the file is missing, or is not a picture or a mask; the message has the cure.
    """
    found = _read(Path(path), mask_of_image)
    if found.note:
        logging.getLogger("crwedge").warning("note: %s: %s", path, found.note)
    return found.ids


def read_label_ids(path: str | Path) -> NDArray[np.uint8]:
    """Read ids (H, W) uint8 as benchmarks store them: palette indices or grey values, nothing decided.

    A grey picture that holds only 0 and 255 is a binary mask of object 1.

    Raises:
        MaskError: the file is missing, not a picture, in colour, or holds ids above 255.
    """
    return _read(Path(path), _labels_of_image).ids


def _read(path: Path, interpret: Callable[[Any, str], MaskPicture]) -> MaskPicture:
    from PIL import ImageOps

    if not os.path.isfile(path):
        raise MaskError(f"there is no mask file {path}")
    if path.suffix.lower() in (".npy", ".npz"):
        return MaskPicture(_read_array(path))
    try:
        with open_image(path) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise MaskError(f"{path} holds {image.n_frames} pictures; a mask is one picture")
            image.load()
            # exif_transpose makes a copy that has forgotten its format.
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format
            return interpret(upright, str(path))
    except SourceError as error:
        raise MaskError(str(error)) from error


def _read_array(path: Path) -> NDArray[np.uint8]:
    """A NumPy file of one array, as `check_mask` takes it: (H, W), or a stack (N, H, W)."""
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                if len(found.files) != 1:
                    raise MaskError(f"{path} holds {len(found.files)} arrays ({', '.join(found.files)}); a mask is one")
                found = found[found.files[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MaskError(f"{path} cannot be read as an array of NumPy ({one_line(error, str(path))})") from error
    try:
        return _ids_of_array(found, (found.shape[-2], found.shape[-1]) if found.ndim > 1 else (0, 0))
    except MaskError as error:
        raise MaskError(f"{path}: {error}") from error


def _labels_of_image(image: Any, name: str) -> MaskPicture:
    values = np.asarray(image)
    if image.mode == "1":
        return MaskPicture(np.asarray(values, np.uint8))
    if image.mode not in ("P", "L") and not image.mode.startswith("I"):
        raise MaskError(
            f"{name} is a colour picture ({image.mode}); a mask is a palette or grey PNG whose values are object ids "
            "(save it with an indexed palette)"
        )
    if values.min() < 0 or values.max() > 255:
        raise MaskError(f"{name} holds the id {values.max()}; at most 254 objects fit one mask")
    ids = np.asarray(values, np.uint8)
    if image.mode != "P" and bool((ids == 255).any()) and bool(np.isin(ids, (0, 255)).all()):
        return MaskPicture(np.asarray(ids == 255, np.uint8))
    return MaskPicture(ids)


def object_ids(mask: NDArray[np.uint8]) -> tuple[int, ...]:
    """The ids of a mask in rising order, without background and void."""
    present = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    return tuple(int(i) for i in present if i not in (0, VOID))


def check_mask(mask: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Convert and check a mask for a frame of `size` = (H, W): uint8, same size, at least one object.

    Ids (H, W) of any integer type, booleans (H, W), a stack of booleans (N, H, W) of which mask number i is object i + 1
    (where they overlap the later one lies on top), and one-hot arrays (K, H, W) or (H, W, K) of which channel 0 is the
    background. Lists of arrays are stacked.

    Raises:
        MaskError: with the cure.
    """
    ids = _ids_of_array(mask, size)
    if ids.shape != size:
        raise MaskError(
            f"the mask is {size_text(ids.shape)} (height x width), the frame {size_text(size)}: "
            "paint it on the frame, or let it be resized (--set resize-mask=true, read_mask + resize_mask)"
        )
    if not object_ids(ids):
        raise MaskError("the mask is empty: it holds no object id from 1 to 254")
    return np.ascontiguousarray(ids)


def _ids_of_array(mask: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    if isinstance(mask, (str, bytes)) or mask is None:
        raise MaskError(
            f"a mask must be an array (H, W) of object ids, not {type(mask).__name__}; read_mask reads files"
        )
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise MaskError("the masks of a list must be arrays (H, W) of one size") from error
    if array.dtype.kind not in "buif":
        raise MaskError("a mask must be an array (H, W) of object ids")
    if array.ndim == 3 and array.dtype.kind != "b" and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim == 3:
        return _ids_of_stack(array, size)
    if array.ndim != 2:
        raise MaskError(
            f"a mask must be an array (H, W) of object ids, or a stack (N, H, W) of masks, not {array.shape}"
        )
    if array.dtype.kind == "f":
        raise MaskError(f"a mask holds whole numbers (object ids), not {array.dtype}; cut a soft one: mask > 0.5")
    if array.size and (array.min() < 0 or array.max() > 255):
        raise MaskError(f"the mask holds the id {array.max()}; ids go from 0 to 254, 255 is void")
    return array.astype(np.uint8)


def _ids_of_stack(array: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A stack of masks, or one-hot channels, as ids (H, W)."""
    if array.shape[:2] == size and array.shape[1:] != size:
        array = np.moveaxis(array, -1, 0)
    if not np.isin(array, (0, 1)).all():
        if array.dtype == np.uint8 and array.shape[0] == 3:
            return mask_of_colours(np.moveaxis(array, 0, -1), "the mask").ids
        raise MaskError(
            "a stack of masks (N, H, W) holds booleans, one-hot channels 0 and 1: cut soft ones (stack > 0.5)"
        )
    if len(array) > 255:
        raise MaskError(f"the stack holds {len(array)} masks; at most 254 objects fit one mask")
    stack = array.astype(np.bool_)
    if len(stack) > 1 and (stack.sum(axis=0) == 1).all():
        return np.asarray(np.argmax(stack, axis=0), np.uint8)
    if len(stack) > 254:
        raise MaskError(f"the stack holds {len(stack)} masks; at most 254 objects fit one mask")
    ids = np.zeros(stack.shape[1:], np.uint8)
    for number, one in enumerate(stack, start=1):
        ids[one] = number
    hidden = [n for n, one in enumerate(stack) if one.any() and not (ids == n + 1).any()]
    if hidden:
        raise MaskError(
            f"mask {hidden[0]} of the stack (from 0) is completely covered by later masks: put it after them"
        )
    return ids


def describe_mask(
    mask: NDArray[np.uint8], names: Mapping[int, str] | None = None, grid: tuple[int, int] | None = None
) -> str:
    """One line about a mask: ids, names and pixel counts of its objects, and objects that are too small for the grid.

    Args:
        mask: (H, W) ids.
        names: of objects, where they have some.
        grid: (h, w) cells that the frame is computed on; objects smaller than a cell are named.
    """
    count = np.bincount(mask.reshape(-1), minlength=256)
    parts = []
    for i in object_ids(mask):
        name = f" {names[i]}" if names and i in names else ""
        parts.append(f"{i}{name} ({count[i]:,} pixels)")
    line = f"{len(parts)} object{'s' if len(parts) != 1 else ''}: " + ", ".join(parts) if parts else "no object"
    if count[VOID]:
        line += f"; void ({count[VOID]:,} pixels)"
    if grid is not None and (small := small_objects(mask, grid)):
        cell = mask.shape[0] / grid[0], mask.shape[1] / grid[1]
        line += (
            f"; too small for cells of {cell[0]:.0f}x{cell[1]:.0f} pixels: {', '.join(map(str, small))} "
            "(likely to be lost; compute at a larger size)"
        )
    return line


def small_objects(mask: NDArray[np.uint8], grid: tuple[int, int]) -> tuple[int, ...]:
    """Ids of objects of `mask` (H, W) that fill less than half of every cell of `grid` = (h, w)."""
    rows = np.minimum(np.arange(mask.shape[0]) * grid[0] // mask.shape[0], grid[0] - 1)
    columns = np.minimum(np.arange(mask.shape[1]) * grid[1] // mask.shape[1], grid[1] - 1)
    cells = (rows[:, None] * grid[1] + columns[None, :]).reshape(-1)
    area = np.bincount(cells, minlength=grid[0] * grid[1])
    flat = mask.reshape(-1)
    return tuple(
        i for i in object_ids(mask) if not (2 * np.bincount(cells[flat == i], minlength=len(area)) >= area).any()
    )


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
