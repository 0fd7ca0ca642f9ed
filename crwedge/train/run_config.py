"""Settings of a run: its length, where it computes, what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described

USUAL_MINUTES = 60.0
"""How long a run of the recipe `default` lasts when no length is given."""


@described
@dataclass(frozen=True)
class RunConfig(Checked):
    """Length, device, precision, and what is written."""

    table: ClassVar[str] = "run"

    steps: int = bounded(100_000, min=1)
    """Updates of the weights."""
    minutes: float = bounded(0.0, min=0)
    """Above 0: the run lasts this long and the schedule follows the clock; not reproducible."""
    seed: int = bounded(0, min=0)
    """Two runs with one seed are equal."""
    device: str = ""
    """cpu, cuda, cuda:1; by default the GPU if there is one."""
    threads: int = bounded(0, min=0)
    """Threads of PyTorch; 0: its own choice."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the encoder's convolutions; softmax and logarithms are float32 always. `auto`: bfloat16 where the processor has
    instructions for it (AMX, AVX512-BF16, or the GPU's own)."""
    log_every: int = bounded(20, min=1)
    """Steps between two lines of progress."""
    save_every: int = bounded(500, min=1)
    """Steps between two checkpoints, of which the last three are kept."""
    probe: tuple[str, ...] = ()
    """Unlabelled footage (videos, folders of them) that the encoder is scored on at each checkpoint, without labels; or one
    labelled clip: a folder with JPEGImages/ and Annotations/. By default a rendered scene with known masks."""
    probe_every: int = bounded(500, min=0)
    """Steps between two scores on a labelled clip; 0: none."""
    picture_every: int = bounded(500, min=0)
    """Steps between two pictures of patches with their strongest transitions; 0: none."""
    calibrate: int = bounded(40, min=0)
    """Whole frames on which the BatchNorm statistics of the written encoder are computed again; 0: keep those of training."""
    calibrate_side: int = bounded(480, min=1)
    """Short side of these frames, in pixels."""
    whiten: float = bounded(0.0, min=0, max=1)
    """How far the features of the written encoder are whitened, on the same frames: 0 not at all, 1 in full. Not at all where
    `calibrate` is 0."""
