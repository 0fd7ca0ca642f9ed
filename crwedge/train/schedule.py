"""Learning rate over the run."""

from __future__ import annotations

import math

from crwedge.train.optimiser_config import OptimiserConfig
from crwedge.train.run_config import RunConfig

FINAL_RATE = 0.02
"""Last learning rate of the falling schedules, as a share of the first."""


def progress(step: int, seconds: float, config: RunConfig) -> float:
    """Share of the run that is done, 0..1: by steps, or by the clock where `minutes` is set."""
    share = step / config.steps
    if config.minutes > 0:
        share = max(share, seconds / (60 * config.minutes))
    return min(share, 1.0)


def learning_rate(step: int, share: float, config: OptimiserConfig) -> float:
    """Of the update that follows `step` finished ones, `share` of the run being done."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate *= FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * share)) / 2
    elif config.schedule == "plateau":
        rate *= FINAL_RATE + (1 - FINAL_RATE) * min(1.0, (1 - share) / config.decay)
    return rate * min(1.0, (step + 1) / max(config.warmup, 1))
