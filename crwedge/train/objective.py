"""The training loss of a batch: pictures, nodes, walk. What test-time training minimises too."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crwedge.core.errors import SettingError
from crwedge.model.nodes import NodeEncoder, border_cells
from crwedge.model.walk import WalkResult, walk_loss
from crwedge.train.augment import colour_views, jittered_patches
from crwedge.train.batches import Batch
from crwedge.train.config import TrainConfig
from crwedge.train.views import cell_targets


def build_model(config: TrainConfig) -> NodeEncoder:
    """The encoder with its head, random weights, in the memory layout that convolutions are fastest in."""
    model = NodeEncoder(
        config.encoder, config.dim, config.head, padded=config.padding != "none", frugal=config.checkpoint_activations
    )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def map_crop(config: TrainConfig) -> int:
    """Cells cropped at each border of a feature map."""
    crop = border_cells(config.stage) if config.map_crop < 0 else config.map_crop
    if config.nodes == "map" and config.padding != "none" and math.ceil(config.size / 8) - 2 * crop < 2:
        raise SettingError(
            f"a crop of {crop} cells leaves nothing of a map of {math.ceil(config.size / 8)}; raise size"
        )
    return crop


def batch_nodes(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> Tensor:
    """Embeddings (B, V, N, d), float32, of all views of a batch on the model's device."""
    clips, count = batch.views.shape[:2]
    pictures = colour_views(batch.views.flatten(0, 1), batch.colours.flatten(0, 1))
    patches = config.nodes == "patches"
    if patches:
        pictures = jittered_patches(pictures, config, batch.seeds)
    with autocast(pictures.device, config.precision):
        nodes: Tensor = model(pictures, patches, map_crop(config))
    return nodes.view(clips, count, -1, nodes.shape[-1])


def batch_loss(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[WalkResult, Tensor]:
    """The walk's loss and accuracies, and the nodes (B, V, N, d) it walked on.

    Random choices follow the clips' seeds.
    """
    nodes = batch_nodes(model, batch, config)
    generators = [torch.Generator(nodes.device).manual_seed(seed + 1) for seed in batch.seeds.tolist()]
    if config.views == "shared":
        return walk_loss(nodes, config.temperature, config.edge_dropout, generators=generators), nodes
    results = [_between_views(pooled(nodes, pool), pool, batch, config, generators) for pool in config.pools]
    loss = torch.stack([result.loss for result in results]).mean()
    return WalkResult(loss, results[0].losses, results[0].accuracy), nodes


def pooled(nodes: Tensor, pool: int) -> Tensor:
    """Unit means (B, V, M, d) of squares of pool x pool cells, of a map's cells (B, V, N, d) row by row."""
    if pool == 1:
        return nodes
    side = math.isqrt(nodes.shape[2])
    if side < 2 * pool:
        raise SettingError(f"pools has {pool}, which leaves fewer than 2 nodes along a map of {side} cells; raise size")
    maps = nodes.unflatten(2, (side, side)).flatten(0, 1).permute(0, 3, 1, 2)
    means = F.normalize(F.avg_pool2d(maps, pool), dim=1)
    count, views = nodes.shape[:2]
    return means.flatten(2).transpose(1, 2).reshape(count, views, -1, nodes.shape[-1])


def _between_views(
    nodes: Tensor, pool: int, batch: Batch, config: TrainConfig, generators: Sequence[torch.Generator]
) -> WalkResult:
    """The walk from one view of frame 1 to the other, over nodes (B, V, M, d)."""
    cells = math.isqrt(nodes.shape[2])
    crop = map_crop(config)
    boxes = None if batch.boxes is None else (batch.boxes[:, 0], batch.boxes[:, -1])
    others = None
    if batch.others is not None and config.follow_pieces:
        others = batch.others[:, 0], batch.others[:, -1]
    target, seen = cell_targets(batch.maps[:, 0], batch.maps[:, -1], cells, crop, pool, config.spread, boxes, others)
    return walk_loss(
        nodes[:, :-1],
        config.temperature,
        config.edge_dropout,
        back=nodes[:, -1],
        target=target,
        seen=seen,
        direct_temperature=config.direct_temperature or None,
        direct_weight=config.direct_weight,
        across=config.across_clips,
        generators=generators,
    )


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Half-width arithmetic for the encoder, where asked for."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
