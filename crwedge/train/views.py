"""Cuts of frames by known maps, so that geometry says which cells of two views see the same point.

A map is (2, 3) float64 and takes view pixels (x, y) to frame pixels; pixel centres have whole coordinates. A warp may
move the view pixels first. Where every frame of a clip has a cut of its own, the position of a cell in its view says
nothing of where the walk should return to: the shortcut of appendix C is gone by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crwedge.train.views_config import ViewsConfig
from crwedge.train.warps import dense_displacement, displacement, unwarped

Map = NDArray[np.float64]

HIDDEN = 255
"""The owner of pixels that show nothing that is followed."""


@dataclass(frozen=True)
class Geometry:
    """How one view of each clip of a batch was made."""

    maps: Tensor
    """(B, L, 2, 3) float64, view pixels to frame pixels, of each layer; layer 0 is the clip, the others are objects."""
    warps: Tensor | None = None
    """(B, L, 2, G, G) float64 control displacements, applied to view pixels before the map."""
    owner: Tensor | None = None
    """(B, S, S) uint8: the layer that each pixel shows, or HIDDEN; layer 0 everywhere by default."""


def draw_maps(
    rng: np.random.Generator, frame: tuple[int, int], count: int, config: ViewsConfig, zoom: float = math.inf
) -> Map:
    """Maps (V, 2, 3) for a clip of `count` frames of size `frame` = (H, W).

    With shared views V = count and all maps are equal. With their own, V = count + 1: frame 1, frames 2..T, and frame 1
    again. The areas of later cuts differ from the first one's by a factor of `zoom` at most.
    """
    first, centre, side = _draw(rng, frame, config, config.scale, None, 0.0)
    if config.mode == "shared":
        return np.repeat(first[None], count, axis=0)
    reach = config.shift * side
    area = (side / min(frame)) ** 2

    def near(scale: tuple[float, float]) -> tuple[float, float]:
        low, high = scale
        return min(max(low, area / zoom), high), max(min(high, area * zoom), low)

    middle = [_draw(rng, frame, config, near(config.inner_scale), centre, reach)[0] for _ in range(count - 1)]
    last = _draw(rng, frame, config, near(config.scale), centre, reach)[0]
    return np.stack([first, *middle, last])


def _draw(
    rng: np.random.Generator,
    frame: tuple[int, int],
    config: ViewsConfig,
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
    cut_width, cut_height = min(side * stretch, width), min(side / stretch, height)
    low = np.array([cut_width - 1, cut_height - 1]) / 2
    top = np.array([width - 1, height - 1]) - low
    if around is None:
        centre = rng.uniform(low, np.maximum(low, top))
    else:
        centre = np.clip(np.array(around) + rng.uniform(-reach, reach, 2), low, np.maximum(low, top))
    angle = math.radians(rng.uniform(-config.rotation, config.rotation))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    step = np.array([mirror * cut_width, cut_height]) / config.size
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * step
    middle = np.full(2, (config.size - 1) / 2)
    return np.column_stack([linear, centre - linear @ middle]), (float(centre[0]), float(centre[1])), side


def dense_points(maps: Map, warps: Map | None, size: int) -> NDArray[np.float32]:
    """Frame pixels (V, S, S, 2) that the pixels of views show."""
    steps = np.arange(size, dtype=np.float64)
    pixels = np.stack(np.broadcast_arrays(steps[None, :], steps[:, None]))[None]
    if warps is not None:
        pixels = pixels + dense_displacement(warps, size)
    points = np.einsum("vij,vjyx->vyxi", maps[:, :, :2], np.broadcast_to(pixels, (len(maps), 2, size, size)))
    return np.asarray(points + maps[:, None, None, :, 2], np.float32)


def cut_views(frames: Tensor, maps: Map, size: int, warps: Map | None = None) -> Tensor:
    """Sample views (V, 3, size, size) uint8 from RGB uint8 frames (V, H, W, 3) linearly; borders reflect."""
    return sample_points(frames, dense_points(maps, warps, size))


def sample_points(frames: Tensor, points: NDArray[np.float32]) -> Tensor:
    """RGB (V, 3, S, S) uint8 of frames (V, H, W, 3) uint8 at pixels (V, S, S, 2), linearly; borders reflect."""
    height, width = frames.shape[1:3]
    # grid_sample's coordinates: the first and last pixel centres are -1 and 1.
    scale = np.array([2 / max(width - 1, 1), 2 / max(height - 1, 1)], np.float32)
    grid = torch.from_numpy(points * scale - 1)
    picture = frames.permute(0, 3, 1, 2).float()
    out = F.grid_sample(picture, grid.to(picture.device), padding_mode="reflection", align_corners=True)
    return out.add_(0.5).clamp_(0, 255).to(torch.uint8)


def corresponding(here: Geometry, there: Geometry, pixels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where pixels of one view lie in another view of the same frame.

    Args:
        here: of the first view.
        there: of the other view.
        pixels: (2, N) float64, x and y, of the first view.
        size: S, side of a view.

    Returns:
        (B, 2, N) pixels of the other view, which may lie outside of it, and whether they are known and not hidden by
        another layer there (B, N).
    """
    start = pixels if here.warps is None else pixels + displacement(here.warps, pixels.expand(1, 1, -1, -1), size)
    points = here.maps[..., :2] @ start + here.maps[..., 2:]  # (B, L, 2, N) frame pixels
    places: Tensor = torch.linalg.solve(there.maps[..., :2], points - there.maps[..., 2:])
    known = torch.ones_like(places[..., 0, :], dtype=torch.bool)
    if there.warps is not None:
        places, known = unwarped(there.warps, places, size)
    if here.owner is None or there.owner is None:
        return places[:, 0], known[:, 0]
    owner = _at(here.owner, pixels.expand(len(here.owner), -1, -1))
    layer = owner.clamp(max=places.shape[1] - 1)
    place = places.gather(1, layer[:, None, None].expand(-1, 1, 2, -1))[:, 0]
    known = known.gather(1, layer[:, None])[:, 0]
    return place, known & (_at(there.owner, place) == owner) & (owner != HIDDEN)


def _at(owner: Tensor, pixels: Tensor) -> Tensor:
    """Values (B, N) int64 of owner (B, S, S) at the pixels nearest to (B, 2, N)."""
    side = owner.shape[-1]
    x, y = pixels.round().long().clamp(0, side - 1).unbind(1)
    return owner.flatten(1).gather(1, y * side + x).long()


def cell_targets(here: Geometry, there: Geometry, cells: int, size: int, crop: int = 0) -> tuple[Tensor, Tensor]:
    """Where each cell of one view of a frame lies in another view of it.

    Cell (i, j) looks at pixel (8 i, 8 j): each stride-2 convolution with padding is centred on the even pixels.

    Args:
        here: of the views that walks start in.
        there: of the views that they return to.
        cells: n, cells along a side of the map, after cropping.
        size: S, side of a view in pixels.
        crop: cells cropped at each border.

    Returns:
        target: (B, n * n, n * n) float32, linear weights of the four cells around; rows sum to 1.
        seen: (B, n * n) bool, whether the point lies within the other map and is visible there.
    """
    device = here.maps.device
    steps = (torch.arange(cells, dtype=torch.float64, device=device) + crop) * 8
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    place, visible = corresponding(here, there, torch.stack([x.reshape(-1), y.reshape(-1)]), size)
    place = place / 8 - crop
    seen = ((place >= 0) & (place <= cells - 1)).all(dim=1) & visible
    low = place.floor().clamp(0, max(cells - 2, 0)).long()
    part = (place - low).clamp(0, 1).float()
    target = torch.zeros(len(place), cells * cells, cells * cells, device=device)
    for dy in (0, 1):
        for dx in (0, 1):
            column = (low[:, 0] + dx).clamp(max=cells - 1)
            row = (low[:, 1] + dy).clamp(max=cells - 1)
            share = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            target.scatter_add_(2, (row * cells + column)[..., None], share[..., None])
    return target, seen
