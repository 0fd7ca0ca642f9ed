"""Settings of the optimiser and its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described


@described
@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """How the weights move."""

    table: ClassVar[str] = "optimiser"

    learning_rate: float = bounded(1e-4, above=0)
    """Of Adam, after the warm-up."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """After the warm-up. `plateau` is constant and falls linearly over the last part of the run (`decay`), so that a run
    can be resumed with fewer steps left. cosine and plateau end at a fiftieth of `learning_rate`."""
    decay: float = bounded(0.2, above=0, max=1)
    """Share of the run, at its end, over which the plateau schedule falls."""
    warmup: int = bounded(100, min=0)
    """Steps over which the learning rate rises."""
    betas: tuple[float, float] = bounded((0.9, 0.999), min=0, max=1)
    """Of Adam."""
    weight_decay: float = bounded(0.0, min=0)
    """Decoupled (AdamW)."""
    clip_norm: float = bounded(0.0, min=0)
    """Largest norm of the gradient; 0: no limit."""
    ema: float = bounded(0.0, min=0, max=1)
    """Decay of a running mean of the weights, which is then the encoder that is written; 0: none."""
