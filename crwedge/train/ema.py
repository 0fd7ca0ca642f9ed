"""A running mean of the weights, which is steadier than the weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(mean: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `mean` towards `model`, in place; early steps move it further, so that the random start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for old, new in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
