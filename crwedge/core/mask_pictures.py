"""How a picture is read as a mask: label pictures by value, painted colours, black and white with soft edges.

Everything else is refused: a misread mask would be followed without any warning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.palette import palette

VOID = 255
"""Marks unknown pixels; never an object."""
_MOST_IDS = 254
_SOFT_FROM = 128
"""This value distinguishes soft edges from a label picture with many ids: soft edges of white include values up to it."""
_SOFT_VALUES = 3
"""More values than this that occur only on edges are not object ids."""
_TINT = 8
"""Lossy pictures change grey by so much from channel to channel; painted colours differ by more."""
_SAVE = "save it as PNG, without smoothing, dithering or resizing, with one value or colour an object"


@dataclass(frozen=True)
class MaskPicture:
    """Ids, and how the picture was interpreted."""

    ids: NDArray[np.uint8]
    """(H, W): 0 background, 1..254 objects, 255 void."""
    note: str = ""
    """One sentence for the user; empty where the picture has only one interpretation."""


def mask_of_image(image: Any, name: str) -> MaskPicture:
    """The objects of a Pillow picture.

    A palette picture gives its indices, a grey one its values, of 8 or 16 bit. Black and white is object 1, also with soft
    edges, which are cut at half. In colours each colour is an object and black, or what is transparent, the background;
    colours of the usual palette keep its ids, others are numbered in the order of blue, green and red. A palette whose
    entry 0 is a colour while another one is black is taken for one whose background is that other entry.

    Raises:
        MaskError: the picture is none of these; the message has the cure.
    """
    lossy = image.format in ("JPEG", "MPO")
    if image.mode == "1":
        return MaskPicture(np.asarray(np.asarray(image), np.uint8))
    if image.mode == "P":
        return _by_palette(image, name)
    if image.mode in ("L", "LA", "La"):
        values = np.asarray(image.convert("LA"))
        return _by_value(_opaque(values[..., 0], values[..., 1], image.mode != "L"), name, lossy)
    if image.mode == "F" or image.mode.startswith("I"):
        return _by_deep_value(np.asarray(image), name)
    if image.mode in ("RGB", "RGBA", "RGBX", "RGBa", "PA"):
        values = np.asarray(image.convert("RGBA"))
        alpha = image.mode in ("RGBA", "RGBa", "PA")
        colours = np.stack([_opaque(values[..., c], values[..., 3], alpha) for c in range(3)], axis=-1)
        if alpha and not colours.any() and values[..., 3].any():
            # Black paint on nothing: what is opaque is the object.
            return _by_value(values[..., 3], name, lossy)
        return mask_of_colours(colours, name, lossy)
    raise MaskError(f"{name} is a picture of mode {image.mode}, which is not a mask: {_SAVE}")


def mask_of_colours(colours: NDArray[np.uint8], name: str, lossy: bool = False) -> MaskPicture:
    """The objects of RGB (H, W, 3): each colour is one, black is the background; a grey picture counts by its values."""
    if np.array_equal(colours[..., 0], colours[..., 1]) and np.array_equal(colours[..., 0], colours[..., 2]):
        return _by_value(colours[..., 0], name, lossy)
    if int(colours.max()) >= _SOFT_FROM and int(np.ptp(colours, axis=-1).max()) <= _TINT:
        # Black and white through a lossy picture (WebP, AVIF, a film's frame): its greys have a tint.
        return _by_value(np.rint(colours.mean(axis=-1)).astype(np.uint8), name, True)
    code = (
        colours[..., 0].astype(np.int32)
        | colours[..., 1].astype(np.int32) << 8
        | colours[..., 2].astype(np.int32) << 16
    )
    found, place = np.unique(code, return_inverse=True)
    place = place.reshape(code.shape)
    usual = {_code_of(colour): number for number, colour in enumerate(palette())}
    if not lossy and all(int(value) in usual for value in found):
        table = np.array([usual[int(value)] for value in found], np.uint8)
        return MaskPicture(table[place], "its colours are read as objects by the usual palette")
    if lossy or len(found) > _MOST_IDS + 1 or _is_scattered(place):
        kind = "is a JPEG, which blurs its colours" if lossy else f"has {len(found)} colours, blended at the edges"
        raise MaskError(f"{name} {kind}: it is not a mask. {_SAVE[0].upper()}{_SAVE[1:]}")
    table = np.zeros(len(found), np.uint8)
    table[found != 0] = np.arange(1, 1 + int((found != 0).sum()), dtype=np.uint8)
    names = ", ".join(f"{i} is {_hex(int(value))}" for i, value in zip(table, found, strict=True) if i)
    background = "black is the background" if found[0] == 0 else "no pixel is black, so there is no background"
    return MaskPicture(table[place], f"its colours are read as objects: {names}; {background}")


def _by_palette(image: Any, name: str) -> MaskPicture:
    ids = np.asarray(image)
    colours = np.zeros((256, 3), np.uint8)
    raw = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)[:256]
    colours[: len(raw)] = raw
    used = np.flatnonzero(np.bincount(ids.reshape(-1), minlength=256))
    if len(used) > 1 and (colours[used] == used[:, None]).all():
        return _by_value(ids, name, False)
    if not np.array_equal(colours[used], palette()[used]) and _is_scattered(ids):
        raise MaskError(f"{name} has colours that are scattered as single pixels: it was dithered. {_SAVE}")
    black = [int(i) for i in used if not colours[i].any()]
    if 0 in used and colours[0].any():
        if len(black) == 1:
            table = np.arange(256, dtype=np.uint8)
            table[black[0]], table[0] = 0, black[0]
            return MaskPicture(
                table[ids],
                f"its index {black[0]} is black and counts as the background; index 0, {_hex(_code_of(colours[0]))}, is "
                f"object {black[0]}",
            )
        return MaskPicture(ids, f"index 0 is the background, though it is painted {_hex(_code_of(colours[0]))}")
    if 0 not in used and len(black) == 1 and len(used) > 1:
        return MaskPicture(
            np.where(ids == black[0], 0, ids), f"its index {black[0]} is black and counts as the background"
        )
    return MaskPicture(ids)


def _by_value(values: NDArray[np.uint8], name: str, lossy: bool) -> MaskPicture:
    """Grey: 0 and 255 alone are black and white, soft edges are cut, everything else is a label picture."""
    if bool((values == 255).any()) and bool(np.isin(values, (0, 255)).all()):
        return MaskPicture(np.asarray(values == 255, np.uint8))
    high = int(values.max())
    if lossy or (high >= _SOFT_FROM and _edge_values(values) >= _SOFT_VALUES):
        dark, bright = values <= high // 4, values >= high - high // 4
        middle = 1 - (dark.mean() + bright.mean())
        # Nothing but an edge lies between: a gradient, a depth map and a photograph do not pass.
        if high < _SOFT_FROM or not dark.any() or middle > min(0.15, 2 * float(bright.mean())):
            raise MaskError(f"{name} has {len(np.unique(values))} grey values that are not object ids: {_SAVE}")
        cut = (high + 1) // 2
        return MaskPicture(
            np.asarray(values >= cut, np.uint8),
            f"it is black and white with soft edges: {cut} and brighter is object 1",
        )
    return MaskPicture(values)


def _by_deep_value(values: NDArray[Any], name: str) -> MaskPicture:
    """16 and 32 bit: ids, or black and white of any depth."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(high) and low >= 0):
        raise MaskError(f"{name} has values from {low:g} to {high:g}; ids go from 0 to 254, 255 is void")
    whole = bool((values == np.floor(values)).all())
    if whole and high <= 255:
        return _by_value(values.astype(np.uint8), name, False)
    white = 1 if values.dtype.kind == "f" and high <= 1 else high
    if white in (1, 1023, 4095, 16383, 65535):
        scaled = _by_value(np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8), name, False)
        if scaled.ids.max() <= 1:
            return scaled
    raise MaskError(
        f"{name} holds the id {high:g}; at most 254 objects fit one mask: renumber them from 1 to 254"
        if whole
        else f"{name} holds {high:g}, which is not a whole number; a mask holds object ids"
    )


def _opaque(values: NDArray[np.uint8], alpha: NDArray[np.uint8], has_alpha: bool) -> NDArray[np.uint8]:
    return np.where(alpha >= 128, values, np.uint8(0)) if has_alpha else values


def _edge_values(values: NDArray[np.uint8]) -> int:
    """How many values occur only on edges: most of their pixels are surrounded by other grey values."""
    inside = _around(values, lambda near: near == values, np.logical_and)
    mixed = _around(values, lambda near: (near != values) & (near != 0), np.logical_or)
    count = np.bincount(values.reshape(-1), minlength=256)
    solid = np.bincount(values[inside], minlength=256)
    blended = np.bincount(values[mixed & ~inside], minlength=256)
    return int(((count > 0) & (solid <= 0.1 * count) & (blended >= 0.5 * count))[1:].sum())


def _is_scattered(ids: NDArray[Any]) -> bool:
    """Whether ids are single pixels here and there: dithered or blended, not painted."""
    alone = ~_around(ids, lambda near: near == ids, np.logical_or, diagonal=False)
    count = np.bincount(ids.reshape(-1))
    single = np.bincount(ids[alone], minlength=len(count))
    if ((count >= 16) & (single > 0.8 * count)).any():
        return True
    scattered = (count >= 4) & (single > 0.5 * count)
    few = (count > 0) & (count < 4)
    return bool(scattered.sum() + (few.sum() if scattered.any() or few.sum() > 8 else 0) >= 3)


def _around(
    values: NDArray[Any],
    test: Callable[[NDArray[Any]], NDArray[np.bool_]],
    join: Callable[..., NDArray[np.bool_]],
    diagonal: bool = True,
) -> NDArray[np.bool_]:
    """`test` of the neighbours of every pixel, joined; beyond the border lie the border's own values."""
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    result: NDArray[np.bool_] | None = None
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy, dx) == (0, 0) or (not diagonal and dy and dx):
                continue
            found = test(padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width])
            result = found if result is None else join(result, found)
    assert result is not None
    return result


def _code_of(colour: NDArray[np.uint8]) -> int:
    return int(colour[0]) | int(colour[1]) << 8 | int(colour[2]) << 16


def _hex(code: int) -> str:
    return f"#{code & 255:02x}{code >> 8 & 255:02x}{code >> 16:02x}"
