"""Colours of objects: those of mask files, and brighter ones for drawing over footage."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray


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


_FIRST = (
    (0, 0, 0), (255, 50, 50), (40, 225, 60), (255, 220, 30), (60, 120, 255), (255, 70, 230), (30, 230, 230),
    (255, 140, 20), (165, 90, 255), (180, 255, 60), (255, 130, 170),
)  # fmt: skip


@cache
def bright_palette() -> NDArray[np.uint8]:
    """Colours that stand out on footage, (256, 3) RGB: the hues of `palette` for the first ids, then hues far apart."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        if index < len(_FIRST):
            colours[index] = _FIRST[index]
        else:
            share = colorsys.hsv_to_rgb((index * 0.618034) % 1, 0.65 + 0.3 * (index % 2), 1.0)
            colours[index] = [round(255 * part) for part in share]
    colours.flags.writeable = False
    return colours
