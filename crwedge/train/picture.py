"""A picture of what the walk does: nodes of frame 1 and where their strongest transitions lead."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from crwedge.model.walk import affinity, transitions
from crwedge.train.augment import patch_starts
from crwedge.train.batches import Batch
from crwedge.train.walk_config import WalkConfig

_COLOURS = ((230, 60, 60), (60, 200, 60), (70, 110, 255), (240, 200, 40), (220, 80, 220), (60, 210, 210))


@torch.no_grad()
def transitions_picture(batch: Batch, nodes: Tensor, config: WalkConfig) -> Tensor:
    """The first clip, its views side by side: (3, S, V * S) uint8.

    A few nodes of the first view are framed; in each later view the three nodes that the walk most likely reaches are
    framed in the same colour, the brighter the likelier.
    """
    views = batch.views[0].cpu().permute(0, 2, 3, 1).numpy().copy()
    cells = nodes[0].float().cpu()
    count = math.isqrt(cells.shape[1])
    size = views.shape[1]
    boxes = _boxes(count, size, config)
    marks = [count // 4 * count + count // 4, count // 2 * count + count // 2, count * 3 // 4 * count + count * 3 // 4]
    marks = sorted({*marks, count // 4 * count + count * 3 // 4, count * 3 // 4 * count + count // 4})
    reach = torch.eye(cells.shape[1])[marks]
    for number in range(len(views)):
        if number:
            reach = reach @ transitions(affinity(cells[number - 1], cells[number], config.temperature)[None])[0]
        for row, colour in zip(reach, _COLOURS, strict=False):
            chance, place = row.topk(1 if number == 0 else min(3, len(row)))
            for share, node in zip((chance / chance[0]).tolist(), place.tolist(), strict=True):
                _frame(views[number], boxes[node], colour, share)
    return torch.from_numpy(np.concatenate(list(views), axis=1)).permute(2, 0, 1).contiguous()


def _boxes(count: int, size: int, config: WalkConfig) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of each node in a view."""
    if config.nodes == "patches":
        starts, side = patch_starts(size, config), config.patch_size
    else:
        margin = (size - 8 * count) // 2
        starts, side = [margin + 8 * index for index in range(count)], 8
    return [(y, x, min(y + side, size), min(x + side, size)) for y in starts for x in starts]


def _frame(image: np.ndarray, box: tuple[int, int, int, int], colour: tuple[int, int, int], share: float) -> None:
    """Blend the outline of a box into an image (H, W, 3), in place."""
    top, left, bottom, right = box
    for area in (
        np.s_[top : top + 2, left:right],
        np.s_[bottom - 2 : bottom, left:right],
        np.s_[top:bottom, left : left + 2],
        np.s_[top:bottom, right - 2 : right],
    ):
        image[area] = (1 - share) * image[area] + share * np.array(colour)
