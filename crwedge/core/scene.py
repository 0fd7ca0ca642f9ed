"""A rendered scene with true masks: what `crwedge demo` tracks, the training probe and the fixture of tests.

Textured ellipses and boxes move, turn, grow and occlude each other in front of a textured background that pans. Everything
follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.described import described
from crwedge.core.labels import resize_linear


@described
@dataclass(frozen=True)
class Scene:
    """Frames and what is true of them."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    masks: NDArray[np.uint8]
    """(T, H, W) ids: 1..objects, 0 background; the lower id is in front."""


@dataclass(frozen=True)
class _Body:
    """One object: shape, path and texture. Lengths in shares of the frame's height."""

    texture: NDArray[np.float32]
    box: bool
    radii: tuple[float, float]
    start: tuple[float, float]
    sway: tuple[float, float]
    phase: float
    turn: float
    growth: float


def render_scene(frames: int = 48, height: int = 240, width: int = 426, objects: int = 2, seed: int = 7) -> Scene:
    """Render `frames` frames of `height` x `width` with `objects` objects (1 to 50)."""
    rng = np.random.default_rng(seed)
    background = speckled_texture(rng, 512, saturation=0.5)
    bodies = [_body(rng, index, objects) for index in range(objects)]
    images = np.empty((frames, height, width, 3), np.uint8)
    masks = np.zeros((frames, height, width), np.uint8)
    ys, xs = np.meshgrid(
        (np.arange(height, dtype=np.float32) + 0.5) / height,
        (np.arange(width, dtype=np.float32) + 0.5) / height,
        indexing="ij",
    )
    aspect = width / height
    for t in range(frames):
        time = t / 48
        pan_y, pan_x = np.float32(0.06 * np.sin(2 * time)), np.float32(0.25 * time)
        image = sample_texture(background, np.float32(200) * (ys + pan_y), np.float32(200) * (xs + pan_x))
        for number in range(objects, 0, -1):
            body = bodies[number - 1]
            angle = 2 * np.pi * (body.phase + 0.8 * time)
            cy = body.start[0] + body.sway[0] * np.sin(angle)
            cx = (body.start[1] + body.sway[1] * np.cos(angle)) * aspect
            scale = 1 + body.growth * np.sin(2 * np.pi * (time + body.phase))
            turn = body.turn * time
            dy, dx = (ys - cy) / scale, (xs - cx) / scale
            v = np.cos(turn) * dy - np.sin(turn) * dx
            u = np.sin(turn) * dy + np.cos(turn) * dx
            a, b = v / body.radii[0], u / body.radii[1]
            inside = (np.maximum(np.abs(a), np.abs(b)) if body.box else a * a + b * b) < 1
            shade = 1 - 0.25 * np.clip(a, -1, 1)[..., None]
            image = np.where(
                inside[..., None], sample_texture(body.texture, v * 260 + 256, u * 260 + 256) * shade, image
            )
            masks[t][inside] = number
        noise = rng.normal(0, 2.0, image.shape).astype(np.float32)
        images[t] = np.clip(image * (1 + 0.04 * np.sin(5 * time)) + noise, 0, 255).astype(np.uint8)
    return Scene(images, masks)


def _body(rng: np.random.Generator, index: int, objects: int) -> _Body:
    size = 0.2 / max(1.0, (objects / 2) ** 0.5)
    return _Body(
        texture=speckled_texture(rng, 512, saturation=1.0),
        box=index % 2 == 1,
        radii=(size * rng.uniform(0.75, 1.0), size * rng.uniform(0.9, 1.3)),
        start=(rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.65)),
        sway=(rng.uniform(0.08, 0.2), rng.uniform(0.15, 0.25)),
        phase=index / objects + rng.uniform(-0.05, 0.05),
        turn=rng.uniform(-1.2, 1.2),
        growth=rng.uniform(0.1, 0.25),
    )


def speckled_texture(rng: np.random.Generator, side: int, saturation: float) -> NDArray[np.float32]:
    """(side, side, 3) in 0..255: noise at several scales around a colour of its own."""
    total = np.zeros((3, side, side), np.float32)
    for cells, weight in ((6, 1.0), (16, 0.8), (48, 0.6), (128, 0.4)):
        total += weight * resize_linear(rng.normal(size=(3, cells, cells)).astype(np.float32), (side, side))
    grey = total.mean(axis=0, keepdims=True)
    total = grey + saturation * (total - grey)
    colour = rng.uniform(60, 195, size=(3, 1, 1))
    return np.ascontiguousarray(np.clip(colour + 45 * total, 0, 255).transpose(1, 2, 0), np.float32)


def sample_texture(texture: NDArray[np.float32], y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float32]:
    """Linear samples (..., 3) of a texture (side, side, 3) that repeats, at places y and x of any shape."""
    side = texture.shape[0]
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    fy, fx = (y - y0)[..., None].astype(np.float32), (x - x0)[..., None].astype(np.float32)
    y1, x1 = (y0 + 1) % side, (x0 + 1) % side
    y0, x0 = y0 % side, x0 % side
    top = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    low = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    return np.asarray(top * (1 - fy) + low * fy, np.float32)
