"""Objects that move by themselves: parts of other frames, cut out along a smooth outline and laid over the views.

An object is a region of its own frame, so each view shows it through the object's own map and warp: it moves, turns,
grows and deforms apart from what lies behind, and occludes it. Which pixel shows which layer is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crwedge.train.views import HIDDEN, Map, cut_views, dense_points, draw_maps, sample_points
from crwedge.train.views_config import ViewsConfig
from crwedge.train.warps import draw_warps

ZOOM = 2.0
"""The area that an object takes differs between views by this factor at most."""
BOXES = 2
"""Boxes of another frame that cover a view, where views are covered."""
_WAVES = 6


@dataclass(frozen=True)
class Outline:
    """A star-shaped region of a frame."""

    centre: tuple[float, float]
    """x and y in frame pixels."""
    radius: float
    """In frame pixels, before the waves."""
    waves: NDArray[np.float64]
    """(2, k) cosine and sine amplitudes of the logarithm of the radius over the angle, from one wave a turn on."""

    def contains(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether frame pixels (..., 2) lie inside."""
        dx, dy = points[..., 0] - self.centre[0], points[..., 1] - self.centre[1]
        angle = np.arctan2(dy, dx)
        log_radius = np.full(angle.shape, math.log(max(self.radius, 1e-6)))
        for number, (cosine, sine) in enumerate(self.waves.T, start=1):
            log_radius += cosine * np.cos(number * angle) + sine * np.sin(number * angle)
        return np.asarray(np.hypot(dx, dy) < np.exp(log_radius))


def draw_outline(rng: np.random.Generator, map_: Map, config: ViewsConfig) -> Outline:
    """An outline that covers up to `config.object_area` of the view that `map_` (2, 3) makes, anywhere in it."""
    place = rng.uniform(0, config.size - 1, 2)
    centre = map_[:, :2] @ place + map_[:, 2]
    radius = config.size * math.sqrt(rng.random() * config.object_area / math.pi * abs(np.linalg.det(map_[:, :2])))
    numbers = np.arange(1, _WAVES + 1)
    return Outline((float(centre[0]), float(centre[1])), radius, rng.normal(0, 0.35 / numbers, (2, _WAVES)))


@dataclass(frozen=True)
class Layer:
    """One object in all views of a clip."""

    maps: Map
    """(V, 2, 3)."""
    warps: Map | None
    """(V, 2, G, G)."""
    pictures: Tensor
    """(V, 3, S, S) uint8."""
    inside: Tensor
    """(V, S, S) bool."""


def draw_layer(rng: np.random.Generator, frame: NDArray[np.uint8], count: int, config: ViewsConfig) -> Layer:
    """An object cut from `frame` (H, W, 3) for the views of a clip of `count` frames."""
    maps = draw_maps(rng, (frame.shape[0], frame.shape[1]), count, config, ZOOM)
    warps = draw_warps(rng, len(maps), config.size, config.warp) if config.warp else None
    outline = draw_outline(rng, maps[0], config)
    points = dense_points(maps, warps, config.size)
    frames = torch.from_numpy(np.ascontiguousarray(frame))[None].expand(len(maps), -1, -1, -1)
    return Layer(maps, warps, sample_points(frames, points), torch.from_numpy(outline.contains(points)))


def overlay(rng: np.random.Generator, views: Tensor, layers: list[Layer], config: ViewsConfig) -> tuple[Tensor, Tensor]:
    """Lay objects over views (V, 3, S, S) uint8, the last on top; motion blurs each layer of each view by chance.

    Returns:
        The views (V, 3, S, S) uint8, and the layer that each pixel shows (V, S, S) uint8, 0 for the views themselves.
    """
    owner = torch.zeros(len(views), *views.shape[2:], dtype=torch.uint8)
    out = views.float()
    for view in range(len(views)):
        if rng.random() < config.motion_blur:
            out[view] = _blurred(out[view], motion_kernel(rng, config.size))
        for number, layer in enumerate(layers, start=1):
            inside = layer.inside[view].float()[None]
            picture = torch.cat([layer.pictures[view].float() * inside, inside])
            if rng.random() < config.motion_blur:
                picture = _blurred(picture, motion_kernel(rng, config.size))
            out[view] = picture[:3] + out[view] * (1 - picture[3:])
            owner[view][picture[3] > 0.5] = number
    return out.add_(0.5).clamp_(0, 255).to(torch.uint8), owner


def draw_boxes(rng: np.random.Generator, count: int, config: ViewsConfig) -> NDArray[np.int64]:
    """Boxes (V, BOXES, 4) that cover each view, from x0, y0 up to x1, y1 in pixels.

    Each takes its part of `config.cutmix` of the view at most, elsewhere in each view.
    """
    size = config.size
    boxes = np.zeros((count, BOXES, 4), np.int64)
    for view, number in np.ndindex(count, BOXES):
        side = math.sqrt(config.cutmix / BOXES * rng.random()) * size
        stretch = math.exp(rng.uniform(-math.log(2), math.log(2)) / 2)
        lengths = np.array([min(round(side * stretch), size), min(round(side / stretch), size)])
        low = np.array([int(rng.integers(size - length + 1)) for length in lengths])
        boxes[view, number] = *low, *(low + lengths)
    return boxes


def paste_boxes(
    rng: np.random.Generator, views: Tensor, owner: Tensor, frame: NDArray[np.uint8], config: ViewsConfig
) -> None:
    """Cover views (V, 3, S, S) with boxes of random cuts of another frame (H, W, 3); their owner is HIDDEN. In place."""
    maps = draw_maps(rng, (frame.shape[0], frame.shape[1]), len(views) - 1, config)
    frames = torch.from_numpy(np.ascontiguousarray(frame))[None].expand(len(views), -1, -1, -1)
    others = cut_views(frames, maps, config.size)
    for view, boxes in enumerate(draw_boxes(rng, len(views), config)):
        for x0, y0, x1, y1 in boxes:
            views[view, :, y0:y1, x0:x1] = others[view, :, y0:y1, x0:x1]
            owner[view, y0:y1, x0:x1] = HIDDEN


def motion_kernel(rng: np.random.Generator, size: int) -> Tensor:
    """(k, k) weights of a straight motion in a random direction, up to a twelfth of the view's side long."""
    length, angle = rng.uniform(1, max(size / 12, 1)), rng.uniform(0, math.pi)
    reach = math.ceil(length / 2)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    for along in np.linspace(-length / 2, length / 2, 4 * reach + 1):
        kernel[reach + round(along * math.sin(angle)), reach + round(along * math.cos(angle))] += 1
    return kernel / kernel.sum()


def _blurred(picture: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel of (C, S, S); borders repeat."""
    reach = len(kernel) // 2
    padded = F.pad(picture[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(padded, kernel[None, None])[:, 0]
