"""A seeded random encoder whose BatchNorm was calibrated: the floor that a trained one must beat."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from crwedge.core.scene import render_scene
from crwedge.model.encoder import Encoder, EncoderConfig

RANDOM_FROM = "random numbers (seed {seed}), never trained; BatchNorm calibrated on rendered frames"


def random_encoder(seed: int = 0, config: EncoderConfig | None = None) -> Encoder:
    """Random weights from `seed`; the caller's random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config)
    frames = torch.from_numpy(render_scene(frames=8, height=256, width=448).frames)
    calibrate(encoder, [frames])
    return encoder.eval()


def calibrate(encoder: Encoder, batches: Iterable[Tensor]) -> None:
    """Recompute the BatchNorm statistics as the plain mean over `batches` of RGB uint8 (N, H, W, 3)."""
    gather_statistics(encoder, (encoder.normalise(frames) for frames in batches))


@torch.no_grad()
def gather_statistics(encoder: Encoder, batches: Iterable[Tensor]) -> None:
    """Recompute the BatchNorm statistics as the plain mean over `batches` of normalised images (N, 3, H, W)."""
    layers = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    mode = encoder.training
    encoder.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for pictures in batches:
        encoder(pictures)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    encoder.train(mode)
