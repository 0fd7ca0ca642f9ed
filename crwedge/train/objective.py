"""The training loss of a batch: pictures, nodes, walk. What test-time training minimises too."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
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
    cells = math.isqrt(nodes.shape[2])
    target, seen = cell_targets(batch.geometry(0), batch.geometry(-1), cells, config.size, map_crop(config))
    result = walk_loss(
        nodes[:, :-1],
        config.temperature,
        config.edge_dropout,
        back=nodes[:, -1],
        target=target,
        seen=seen,
        across=config.across_clips,
        generators=generators,
    )
    return result, nodes


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Half-width arithmetic for the encoder, where asked for."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
