"""A rendered film that is hard to follow, with true masks. Everything follows from the seed.

Walking bodies with limbs that bend, look-alikes with the same skin, a post that hides them, a hand-held camera, motion blur,
changing light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.scene import Scene, sample_texture, speckled_texture

Array = NDArray[np.float32]

_SHUTTER = 0.04
"""Seconds that the shutter is open."""
_EXPOSURES = 3
_REACH = 3.2
"""No part of a body is farther from its centre, in its sizes."""
_LIMBS = ((-0.75, 0.62), (-0.35, 0.62), (0.35, 0.62), (0.75, 0.62))
"""Where legs hang from the trunk: along it and across, in trunk radii."""


@dataclass(frozen=True, eq=False)
class _Body:
    """A trunk with a head and four legs of two parts. Lengths in frame heights, angles in radians."""

    texture: Array
    offset: tuple[float, float]
    """Where its skin lies in the texture: look-alikes share the texture."""
    size: float
    start: tuple[float, float]
    speed: tuple[float, float]
    phase: float
    gait: float
    """Steps a second."""
    spin: float
    """Turns of the trunk a second."""
    growth: float


def render_film(
    frames: int = 24, height: int = 240, width: int = 426, objects: int = 2, seed: int = 0, rate: float = 12.0
) -> Scene:
    """Render `frames` frames of `height` x `width` with `objects` bodies (1 to 8) and as many look-alikes.

    Args:
        frames: T.
        height: H.
        width: W.
        objects: bodies with a mask.
        seed: everything follows from it.
        rate: frames a second.

    Returns:
        Frames and masks; ids 1..objects. Look-alikes and the post are background.
    """
    rng = np.random.default_rng(seed)
    ground = speckled_texture(rng, 512, saturation=0.25)
    bark = speckled_texture(rng, 256, saturation=0.2)
    # Bodies and look-alikes start in places of their own, from side to side.
    places = (rng.permutation(2 * objects) + 0.5) / (2 * objects) * width / height
    bodies = [_draw_body(rng, speckled_texture(rng, 256, saturation=0.4), float(place)) for place in places[:objects]]
    twins = [_draw_body(rng, body.texture, float(place)) for body, place in zip(bodies, places[objects:], strict=True)]
    # From the back to the front: look-alikes and bodies by turns.
    order = [item for number in range(objects) for item in ((0, twins[number]), (number + 1, bodies[number]))]
    post = float(rng.uniform(0.3, 0.7)) * width / height
    sway = rng.uniform(0, 2 * math.pi, 6)
    images = np.empty((frames, height, width, 3), np.uint8)
    masks = np.zeros((frames, height, width), np.uint8)
    for t in range(frames):
        picture = np.zeros((height, width, 3), np.float32)
        for exposure in range(_EXPOSURES):
            time = t / rate + _SHUTTER * exposure / (_EXPOSURES - 1)
            y, x = _camera(time, height, width, sway)
            image = sample_texture(ground, _mirrored(220 * y, 512), _mirrored(220 * x, 512))
            mask = np.zeros((height, width), np.uint8)
            for label, body in order:
                part = _box(body, time, y, x)
                inside, skin = _seen_body(body, time, y[part], x[part])
                image[part][inside] = skin
                mask[part][inside] = label
            behind = np.abs(x - post - 0.02 * np.sin(9 * y)) < 0.045
            image[behind] = sample_texture(bark, 300 * y[behind], 300 * x[behind])
            mask[behind] = 0
            picture += image / _EXPOSURES
            if exposure == _EXPOSURES // 2:
                masks[t] = mask
        images[t] = _lit(picture, t / rate, sway, rng)
    return Scene(images, masks)


def _draw_body(rng: np.random.Generator, texture: Array, across: float) -> _Body:
    side = rng.choice([-1.0, 1.0])
    return _Body(
        texture=texture,
        offset=(float(rng.uniform(0, 256)), float(rng.uniform(0, 256))),
        size=float(rng.uniform(0.09, 0.15)),
        start=(float(rng.uniform(0.3, 0.65)), across),
        speed=(float(rng.uniform(-0.04, 0.04)), float(side * rng.uniform(0.04, 0.15))),
        phase=float(rng.uniform(0, 2 * math.pi)),
        gait=float(rng.uniform(0.8, 1.6)),
        spin=float(rng.uniform(-0.06, 0.06)),
        growth=float(rng.uniform(-0.25, 0.25)),
    )


def _camera(time: float, height: int, width: int, sway: NDArray[np.float64]) -> tuple[Array, Array]:
    """World coordinates (y, x) of each pixel, in frame heights: a pan, a slow zoom and the shake of a hand."""
    zoom = 1 + 0.12 * math.sin(0.7 * time + sway[0])
    turn = 0.03 * math.sin(1.9 * time + sway[1])
    pan_x = 0.12 * math.sin(0.5 * time + sway[2]) + 0.008 * math.sin(11 * time + sway[3])
    pan_y = 0.04 * math.sin(0.8 * time + sway[4]) + 0.008 * math.sin(13 * time + sway[5])
    v, u = np.mgrid[:height, :width].astype(np.float32)
    v, u = (v + 0.5) / height - 0.5, (u + 0.5) / height - width / height / 2
    y = zoom * (math.cos(turn) * v + math.sin(turn) * u) + 0.5 + pan_y
    x = zoom * (math.cos(turn) * u - math.sin(turn) * v) + width / height / 2 + pan_x
    return np.asarray(y, np.float32), np.asarray(x, np.float32)


def _box(body: _Body, time: float, y: Array, x: Array) -> tuple[slice, slice]:
    """Rows and columns of the pixels that may show the body."""
    size = body.size * math.exp(body.growth * math.sin(time + body.phase))
    near = np.abs(y - body.start[0] - body.speed[0] * time) < _REACH * size
    near &= np.abs(x - body.start[1] - body.speed[1] * time) < _REACH * size
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _seen_body(body: _Body, time: float, y: Array, x: Array) -> tuple[NDArray[np.bool_], Array]:
    """Which pixels show the body (H, W), and their colours (n, 3)."""
    size = body.size * math.exp(body.growth * math.sin(time + body.phase))
    angle = 2 * math.pi * body.spin * time
    v, u = (y - body.start[0] - body.speed[0] * time) / size, (x - body.start[1] - body.speed[1] * time) / size
    v, u = math.cos(angle) * v - math.sin(angle) * u, math.sin(angle) * v + math.cos(angle) * u
    # The trunk bends like a spine.
    v = v + 0.22 * np.sin(1.4 * u + 2 * math.pi * body.gait * time + body.phase)
    skin_v, skin_u = v.copy(), u.copy()
    inside = (u / 1.5) ** 2 + (v / 0.72) ** 2 < 1
    inside |= (u - 1.6) ** 2 + (v + 0.45) ** 2 < 0.42**2
    for number, (along, across) in enumerate(_LIMBS):
        swing = math.sin(2 * math.pi * body.gait * time + body.phase + math.pi * (number % 2) + 0.4 * number)
        hip = across, 1.3 * along
        for length, radius, joint in ((0.75, 0.22, 0.75 * swing), (0.7, 0.17, 0.75 * swing + 0.5 * abs(swing))):
            # The part's own coordinates: p along it, q across it. Its skin turns with it.
            dv, du = v - hip[0], u - hip[1]
            p, q = math.cos(joint) * dv + math.sin(joint) * du, math.cos(joint) * du - math.sin(joint) * dv
            part = (np.hypot(np.maximum(np.abs(p - length / 2) - length / 2, 0), q) < radius) & ~inside
            skin_v[part], skin_u[part] = p[part] + 2 * number, q[part] + 1.5 * along
            inside |= part
            hip = hip[0] + length * math.cos(joint), hip[1] + length * math.sin(joint)
    scale = 26.0
    places = (
        _mirrored(scale * skin[inside] + shift, 256) for skin, shift in zip((skin_v, skin_u), body.offset, strict=True)
    )
    colours = sample_texture(body.texture, *places)
    shade = 1.08 - 0.3 * np.clip(v[inside], -1, 1.5)
    return inside, np.asarray(colours * shade[:, None], np.float32)


def _mirrored(places: Array, side: int) -> Array:
    """Coordinates folded into 0..side - 1, so that a texture continues without a seam."""
    return np.asarray(side - 1 - np.abs(places % (2 * side - 2) - (side - 1)), np.float32)


def _lit(picture: Array, time: float, sway: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture under light that drifts, a shadow that passes, and sensor noise."""
    height, width = picture.shape[:2]
    u = np.mgrid[:height, :width][1].astype(np.float32) / height
    light = 1 + 0.1 * math.sin(1.3 * time + sway[0]) + 0.12 * np.sin(1.5 * u + 0.6 * time + sway[1])
    light *= 1 - 0.3 / (1 + np.exp(-18 * (np.sin(1.1 * u + 0.9 * time + sway[2]) - 0.55)))
    noisy = picture * light[..., None] + rng.normal(0, 2.5, picture.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)
