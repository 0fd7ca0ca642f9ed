"""What is done to pictures on the device: colour, blur, and the patches with their spatial jitter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crwedge.train.walk_config import WalkConfig

JITTER_SCALE, JITTER_RATIO = (0.7, 0.9), (0.7, 1.3)
"""Area and width to height of the random crop of each patch (appendix E)."""


def colour_views(views: Tensor, colours: Tensor) -> Tensor:
    """uint8 (n, 3, S, S) -> float32 (n, 3, S, S) in 0..1 with the jitter of `colours` (n, 7), see `Batch`."""
    x = views.float().div_(255)
    if (colours[:, :6] != 1).any():
        brightness, contrast, saturation = (colours[:, k].view(-1, 1, 1, 1) for k in range(3))
        x = x * brightness
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        grey = x.mean(dim=1, keepdim=True)
        # Contrast around the picture's mean and saturation around each pixel's grey, in one pass.
        x = contrast * (grey + saturation * (x - grey) - mean) + mean
        x = (x * colours[:, 3:6, None, None]).clamp_(0, 1)
    for row in torch.nonzero(colours[:, 6] > 0).flatten().tolist():
        from kornia.filters import gaussian_blur2d

        sigma = float(colours[row, 6])
        x[row : row + 1] = gaussian_blur2d(x[row : row + 1], (9, 9), (sigma, sigma))
    return x


def patch_starts(size: int, config: WalkConfig) -> list[int]:
    """First pixels of the patches along a side of `size` pixels."""
    return list(range(0, size - config.patch_size + 1, config.patch_stride))


def jittered_patches(x: Tensor, config: WalkConfig, seeds: Tensor) -> Tensor:
    """Cut (n, 3, S, S) into patches and crop each at random: (n * N, 3, p, p), node by node within a picture.

    `seeds` (B,) holds one for each clip of n / B pictures.

    The same as `unfold` followed by kornia's `RandomResizedCrop(scale, ratio)` on every patch; here kornia draws the
    boxes, and one `grid_sample` reads them straight from the pictures, so that the patches never exist uncropped.
    """
    from kornia.augmentation import RandomResizedCrop

    size, starts = config.patch_size, patch_starts(x.shape[-1], config)
    count, nodes = x.shape[0], len(starts) ** 2
    jitter = RandomResizedCrop((size, size), JITTER_SCALE, JITTER_RATIO, p=1.0, cropping_mode="resample")
    each = torch.Size((count // len(seeds) * nodes, 3, size, size))
    drawn = []
    for seed in seeds.tolist():
        torch.manual_seed(seed)  # kornia draws from the global generator
        drawn.append(jitter.generate_parameters(each)["src"])
    # Corners (top left, top right, bottom right, bottom left) as (x, y) of pixels, both ends included.
    corners = torch.cat(drawn).to(x.device, torch.float32)
    low, high = corners[:, 0], corners[:, 2]
    place = torch.tensor(starts, dtype=torch.float32, device=x.device)
    origin = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1).reshape(-1, 2).repeat(count, 1)
    steps = torch.linspace(0, 1, size, device=x.device)
    span = (high - low)[:, None]
    points = (low + origin)[:, None] + span * steps[None, :, None]  # (n * N, p, 2): x of columns, y of rows
    points = points * (2 / (x.shape[-1] - 1)) - 1
    grid = torch.empty(count, nodes * size, size, 2, device=x.device)
    view = grid.view(count * nodes, size, size, 2)
    view[..., 0] = points[:, None, :, 0]
    view[..., 1] = points[:, :, None, 1]
    patches = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    return patches.view(count, 3, nodes, size, size).transpose(1, 2).reshape(count * nodes, 3, size, size)
