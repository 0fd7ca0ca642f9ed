"""The training loss of a batch: pictures, nodes, walk. What test-time training minimises too."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from crwedge.core.errors import SettingError
from crwedge.model.encoder import EncoderConfig
from crwedge.model.nodes import NodeEncoder, border_cells
from crwedge.model.walk import WalkResult, walk_loss
from crwedge.train.augment import colour_views, jittered_patches
from crwedge.train.batches import Batch
from crwedge.train.encoder_config import TrainedEncoderConfig
from crwedge.train.views import cell_targets
from crwedge.train.views_config import ViewsConfig
from crwedge.train.walk_config import WalkConfig


def build_model(config: TrainedEncoderConfig, encoder: EncoderConfig | None = None) -> NodeEncoder:
    """The encoder with its head, random weights, in the memory layout that convolutions are fastest in.

    Args:
        config: settings of training.
        encoder: of the network, where it is not that of the settings, which have no whitening.
    """
    model = NodeEncoder(encoder or config.exported, config.dim, config.head, padded=config.padding != "none")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


class Objective:
    """The loss of a batch.

    Args:
        views: how the batch's views were cut.
        walk: nodes and walk.
        encoder: the network that `build_model` made.
        precision: `float32`, or `bfloat16` for the convolutions.

    Raises:
        SettingError: the crop leaves nothing of the feature map.
    """

    def __init__(self, views: ViewsConfig, walk: WalkConfig, encoder: TrainedEncoderConfig, precision: str) -> None:
        self.views, self.walk, self.precision = views, walk, precision
        self.crop = border_cells(encoder.stage) if walk.map_crop < 0 else walk.map_crop
        cells = math.ceil(views.size / 8)
        if walk.nodes == "map" and encoder.padding != "none" and cells - 2 * self.crop < 2:
            raise SettingError(f"a crop of {self.crop} cells leaves nothing of a map of {cells}; raise views.size")

    def __call__(self, model: Callable[..., Any], batch: Batch) -> tuple[WalkResult, Tensor]:
        """The walk's loss and accuracies, and the nodes (B, V, N, d) it walked on.

        Random choices follow the clips' seeds. `model` is a NodeEncoder or a wrapper of it.
        """
        walk, nodes = self.walk, self.nodes(model, batch)
        generators = [torch.Generator(nodes.device).manual_seed(seed + 1) for seed in batch.seeds.tolist()]
        if self.views.mode == "shared":
            return walk_loss(nodes, walk.temperature, walk.edge_dropout, generators=generators), nodes
        cells = math.isqrt(nodes.shape[2])
        target, seen = cell_targets(batch.geometry(0), batch.geometry(-1), cells, self.views.size, self.crop)
        result = walk_loss(
            nodes[:, :-1],
            walk.temperature,
            walk.edge_dropout,
            back=nodes[:, -1],
            target=target,
            seen=seen,
            cross_clip_negatives=walk.cross_clip_negatives,
            generators=generators,
        )
        return result, nodes

    def nodes(self, model: Callable[..., Any], batch: Batch) -> Tensor:
        """Embeddings (B, V, N, d), float32, of all views of a batch on the model's device."""
        clips, count = batch.views.shape[:2]
        pictures = colour_views(batch.views.flatten(0, 1), batch.colours.flatten(0, 1))
        patches = self.walk.nodes == "patches"
        if patches:
            pictures = jittered_patches(pictures, self.walk, batch.seeds)
        with autocast(pictures.device, self.precision):
            nodes: Tensor = model(pictures, patches, self.crop)
        return nodes.view(clips, count, -1, nodes.shape[-1])


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Half-width arithmetic for the encoder, where asked for."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
