"""Learning rate over the run."""

from __future__ import annotations

import math

from crwedge.train.config import TrainConfig


def progress(step: int, seconds: float, config: TrainConfig) -> float:
    """Share of the run that is done, 0..1: by steps, or by the clock where `minutes` is set."""
    share = step / config.steps
    if config.minutes > 0:
        share = max(share, seconds / (60 * config.minutes))
    return min(share, 1.0)


def learning_rate(step: int, share: float, config: TrainConfig) -> float:
    """Of the update that follows `step` finished ones, `share` of the run being done."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate *= config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * share)) / 2
    elif config.schedule == "plateau":
        rate *= config.final_rate + (1 - config.final_rate) * min(1.0, (1 - share) / config.decay)
    return rate * min(1.0, (step + 1) / max(config.warmup, 1))
