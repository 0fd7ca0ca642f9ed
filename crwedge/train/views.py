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

PIECES = 2
"""Pieces of another frame that cover a view, where views are covered."""


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


def draw_boxes(rng: np.random.Generator, maps: Map, config: TrainConfig) -> NDArray[np.int64]:
    """Where pieces of another frame cover each view: (V, 2, 4), from x0, y0 up to x1, y1 in pixels.

    Each of a view's two boxes takes half of `config.occlude` of its area at most. With `config.follow_pieces` a box lies
    where the maps (V, 2, 3) of that frame put its place in the first view, so that views share most of a piece.
    """
    size = config.size
    boxes = np.zeros((len(maps), PIECES, 4), np.int64)
    for view, piece in np.ndindex(len(maps), PIECES):
        side = math.sqrt(config.occlude / PIECES * rng.random()) * size
        stretch = math.exp(rng.uniform(-math.log(2), math.log(2)) / 2)
        lengths = np.array([min(round(side * stretch), size), min(round(side / stretch), size)])
        low = np.array([int(rng.integers(size - length + 1)) for length in lengths])
        if view and config.follow_pieces:
            middle = boxes[0, piece].reshape(2, 2).mean(axis=0)
            point = maps[0][:, :2] @ middle + maps[0][:, 2]
            there = np.linalg.solve(maps[view][:, :2], point - maps[view][:, 2])
            low = np.clip(np.round(there - lengths / 2).astype(np.int64), 0, size - lengths)
        boxes[view, piece] = *low, *(low + lengths)
    return boxes


def cover(views: Tensor, others: Tensor, boxes: NDArray[np.int64]) -> None:
    """Copy the pixels of `others` (V, 3, S, S) inside the boxes (V, pieces, 4) into `views`, in place."""
    for view, piece in np.ndindex(boxes.shape[:2]):
        x0, y0, x1, y1 = boxes[view, piece]
        views[view, :, y0:y1, x0:x1] = others[view, :, y0:y1, x0:x1]


def _covered(places: Tensor, boxes: Tensor) -> Tensor:
    """(B, N): whether pixels (B, 2, N) or (2, N), x and y, lie in any of the boxes (B, pieces, 4)."""
    low, high = boxes[:, :, :2, None], boxes[:, :, 2:, None]
    point = places[..., None, :, :]
    inside: Tensor = ((point >= low) & (point < high)).all(dim=2).any(dim=1)
    return inside


def cell_targets(
    here: Tensor,
    there: Tensor,
    cells: int,
    crop: int = 0,
    pool: int = 1,
    spread: float = 0.0,
    boxes: tuple[Tensor, Tensor] | None = None,
    others: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Where each node of one view of a frame lies in another view of it.

    Cell (i, j) looks at pixel (8 i, 8 j): each stride-2 convolution with padding is centred on the even pixels.

    Args:
        here: (B, 2, 3) float64 maps of the views that walks start in.
        there: (B, 2, 3) maps of the views that they return to.
        cells: n, nodes along a side of the map, after cropping and pooling.
        crop: cells cropped at each border.
        pool: cells along a side of a node.
        spread: sigma, in nodes, of a Gaussian around the point; 0 takes the four nodes around it, by linear weights.
        boxes: (B, pieces, 4) covered pixels of the first view, and of the other.
        others: (B, 2, 3) maps of the frame that covers them; nodes on its pieces are followed too.

    Returns:
        target: (B, n * n, n * n) float32 weights; rows sum to 1 where seen.
        seen: (B, n * n) bool, whether the point lies within the other map and is visible there.
    """
    batch = here.shape[0]
    stride, first = 8 * pool, 8 * crop + 4 * (pool - 1)  # pixels of a node, and its first centre
    steps = torch.arange(cells, dtype=torch.float64, device=here.device) * stride + first
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([x.reshape(-1), y.reshape(-1)])

    def places(start: Tensor, end: Tensor) -> Tensor:
        """(B, 2, N) pixels of the other view that show what the nodes' pixels show."""
        points = start[:, :, :2] @ pixels + start[:, :, 2:]
        found: Tensor = torch.linalg.solve(end[:, :, :2], points - end[:, :, 2:])
        return found

    place, visible = places(here, there), None
    if boxes is not None:
        covered = _covered(pixels, boxes[0])
        if others is not None:
            place = torch.where(covered[:, None], places(*others), place)
            visible = covered == _covered(place, boxes[1])
        else:
            visible = ~covered & ~_covered(place, boxes[1])
    place = (place - first) / stride
    seen = ((place >= 0) & (place <= cells - 1)).all(dim=1)
    if visible is not None:
        seen &= visible
    if spread > 0:
        nodes = torch.arange(cells, dtype=torch.float32, device=here.device)
        near = [(-((place[:, axis, :, None].float() - nodes) ** 2) / (2 * spread**2)).softmax(-1) for axis in (0, 1)]
        target = (near[1][..., :, None] * near[0][..., None, :]).flatten(2)
        # Beyond three sigma nothing is left, so that a node still belongs to few.
        target = target * (target > 0.01 * target.amax(-1, keepdim=True))
        return target / target.sum(-1, keepdim=True), seen
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
