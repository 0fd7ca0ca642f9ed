"""Cuts of frames as affine maps that are known, so that geometry says which cells of two views see the same point.

A map is (2, 3) float64 and takes view pixels (x, y) to frame pixels; pixel centres have whole coordinates. Where every
frame of a clip has a cut of its own, the position of a cell in its view says nothing of where the walk should return
to: the shortcut of appendix C is gone by construction.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crwedge.train.config import TrainConfig

Map = NDArray[np.float64]


def draw_maps(rng: np.random.Generator, frame: tuple[int, int], count: int, config: TrainConfig) -> Map:
    """Maps (V, 2, 3) for a clip of `count` frames of size `frame` = (H, W).

    With shared views V = count and all maps are equal. With their own, V = count + 1: frame 1, frames 2..T, and frame 1
    again.
    """
    first, centre, side = _draw(rng, frame, config, config.scale, None, 0.0)
    if config.views == "shared":
        return np.repeat(first[None], count, axis=0)
    reach = config.shift * side
    middle = [_draw(rng, frame, config, config.middle_scale, centre, reach)[0] for _ in range(count - 1)]
    last = _draw(rng, frame, config, config.scale, centre, reach)[0]
    return np.stack([first, *middle, last])


def _draw(
    rng: np.random.Generator,
    frame: tuple[int, int],
    config: TrainConfig,
    scale: tuple[float, float],
    around: tuple[float, float] | None,
    reach: float,
) -> tuple[Map, tuple[float, float], float]:
    """One map, its centre (x, y) and the side of its square, in frame pixels."""
    height, width = frame
    short = min(height, width)
    # Uniform in the logarithm: as many cuts zoom in as out.
    side = math.sqrt(math.exp(rng.uniform(math.log(scale[0]), math.log(scale[1])))) * short
    stretch = math.sqrt(math.exp(rng.uniform(-math.log(config.ratio), math.log(config.ratio))))
    wide, high = min(side * stretch, width), min(side / stretch, height)
    low = np.array([wide - 1, high - 1]) / 2
    top = np.array([width - 1, height - 1]) - low
    if around is None:
        centre = rng.uniform(low, np.maximum(low, top))
    else:
        centre = np.clip(np.array(around) + rng.uniform(-reach, reach, 2), low, np.maximum(low, top))
    angle = math.radians(rng.uniform(-config.rotation, config.rotation))
    mirror = -1.0 if rng.random() < config.flip else 1.0
    step = np.array([mirror * wide, high]) / config.size
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * step
    middle = np.full(2, (config.size - 1) / 2)
    return np.column_stack([linear, centre - linear @ middle]), (float(centre[0]), float(centre[1])), side


def cut_views(frames: Tensor, maps: Map, size: int) -> Tensor:
    """Sample views (V, 3, size, size) uint8 from RGB uint8 frames (V, H, W, 3) linearly; borders reflect."""
    height, width = frames.shape[1:3]
    # From view pixels to the coordinates of grid_sample, in which the first and last pixel centres are -1 and 1.
    scale = np.array([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    unit = maps * scale[:, None]
    unit[:, :, 2] -= 1
    steps = np.arange(size, dtype=np.float32)
    x = unit[:, None, None, :, 0].astype(np.float32) * steps[None, None, :, None]
    y = unit[:, None, None, :, 1].astype(np.float32) * steps[None, :, None, None]
    grid = torch.from_numpy(x + y + unit[:, None, None, :, 2].astype(np.float32))
    picture = frames.permute(0, 3, 1, 2).float()
    out = F.grid_sample(picture, grid.to(picture.device), padding_mode="reflection", align_corners=True)
    return out.add_(0.5).clamp_(0, 255).to(torch.uint8)


def cell_targets(here: Tensor, there: Tensor, cells: int, crop: int = 0, stride: int = 8) -> tuple[Tensor, Tensor]:
    """Where each cell of one view of a frame lies in another view of it.

    Cell (i, j) looks at pixel (8 i, 8 j): each stride-2 convolution with padding is centred on the even pixels.

    Args:
        here: (B, 2, 3) float64 maps of the views that walks start in.
        there: (B, 2, 3) maps of the views that they return to.
        cells: n, cells along a side of the map, after cropping.
        crop: cells cropped at each border.
        stride: pixels of a cell.

    Returns:
        target: (B, n * n, n * n) float32, linear weights of the four cells around the point; rows sum to 1 where seen.
        seen: (B, n * n) bool, whether the point lies within the other map.
    """
    batch = here.shape[0]
    steps = (torch.arange(cells, dtype=torch.float64, device=here.device) + crop) * stride
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([x.reshape(-1), y.reshape(-1)])
    points = here[:, :, :2] @ pixels + here[:, :, 2:]
    place = torch.linalg.solve(there[:, :, :2], points - there[:, :, 2:]) / stride - crop
    seen = ((place >= 0) & (place <= cells - 1)).all(dim=1)
    low = place.floor().clamp(0, max(cells - 2, 0)).long()
    part = (place - low).clamp(0, 1).float()
    target = torch.zeros(batch, cells * cells, cells * cells, device=here.device)
    for dy in (0, 1):
        for dx in (0, 1):
            column = (low[:, 0] + dx).clamp(max=cells - 1)
            row = (low[:, 1] + dy).clamp(max=cells - 1)
            share = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            target.scatter_add_(2, (row * cells + column)[..., None], share[..., None])
    return target, seen
