"""Rendered frames of textured objects that go where a test wants them, with their true masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crwedge.core.labels import resize_linear

Place = tuple[float, float, float]
"""Centre y, x in pixels, and half the object's height in pixels."""


@dataclass(frozen=True)
class MovingObject:
    """A textured shape."""

    path: Callable[[int], Place | None]
    """Where it is in each frame; None where it is not in the picture."""
    seed: int
    aspect: float = 1.3
    """Width over height."""


def texture(seed: int, height: int, width: int, grain: int, contrast: float = 70.0) -> NDArray[np.float32]:
    """(H, W, 3): smooth random colours of two scales around a colour of their own."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(60, 195, 3).astype(np.float32)
    found = np.zeros((3, height, width), np.float32) + colour[:, None, None]
    for size, share in ((grain, 1.0), (max(2, grain // 4), 0.6)):
        cells = rng.normal(size=(3, -(-height // size) + 1, -(-width // size) + 1)).astype(np.float32)
        found += share * contrast / 2 * resize_linear(cells, (height, width))
    return np.asarray(np.clip(found, 0, 255).transpose(1, 2, 0), np.float32)


def render(
    objects: list[MovingObject],
    frames: int,
    size: tuple[int, int] = (480, 640),
    cuts: tuple[int, ...] = (),
    seed: int = 5,
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Frames RGB uint8 (H, W, 3) and masks (H, W), whose ids count from 1. From each cut on there is another background."""
    height, width = size
    back = [texture(seed + 100 * n, height, width, 48) for n in range(len(cuts) + 1)]
    skins = [texture(1000 + one.seed, 256, round(256 * one.aspect), 64, 110.0) for one in objects]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    pictures, masks = [], []
    for t in range(frames):
        picture = back[sum(cut <= t for cut in cuts)].copy()
        mask = np.zeros(size, np.uint8)
        for number, one in enumerate(objects, start=1):
            place = one.path(t)
            if place is None:
                continue
            y, x, half = place
            v, u = (ys - y) / half, (xs - x) / (half * one.aspect)
            # A rounded shape with a bay, so that it is no plain ellipse.
            inside = (np.abs(v) ** 3 + np.abs(u) ** 3 < 1) & ~((v + 1) ** 2 + u**2 < 0.16)
            skin = skins[number - 1]
            rows = np.clip((v + 1) / 2 * (skin.shape[0] - 1), 0, skin.shape[0] - 1).astype(int)
            columns = np.clip((u + 1) / 2 * (skin.shape[1] - 1), 0, skin.shape[1] - 1).astype(int)
            picture[inside] = skin[rows, columns][inside]
            mask[inside] = number
        noise = np.random.default_rng(seed + 7919 * t).normal(0, 2, picture.shape)
        pictures.append(np.clip(picture + noise, 0, 255).astype(np.uint8))
        masks.append(mask)
    return pictures, masks


def save(path: str, pictures: list[NDArray[np.uint8]], every: int = 8) -> None:
    """A contact sheet, to look at what a test renders."""
    chosen = pictures[::every]
    Image.fromarray(np.concatenate([np.concatenate(chosen, axis=1)])).save(path)
