"""Options of a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crwedge.core.bundle import Bundle
from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.target import Target


@described
@dataclass(frozen=True)
class SessionOptions(Checked):
    """How a session works; see `Session`."""

    model: str | Path | Bundle | None = None
    """Bundle; by default the one chosen with `crwedge use`, else the shipped one."""
    engine: str = "auto"
    """`auto`, `cpu`, `cuda` or `tensorrt`."""
    preset: str | None = None
    """Propagation protocol; by default the bundle's."""
    settings: PropagationSettings | None = None
    """Settings in place of those of the preset."""
    size: tuple[int, int] | None = None
    """(H, W) to compute at; by default the bundle's fixed size, else the frame's."""
    threads: int | None = bounded(None, min=1, max=1024)
    """Threads of the encoder and of the propagation; by default all processors."""
    start: int | None = bounded(None, min=0)
    """Number of the frame that the mask belongs to and that tracking starts with, from 0; not of a live source."""
    reverse: bool = False
    """Go backwards, from `start` or from the last frame."""
    skip_damaged: bool = False
    """Skip damaged packets of a film, and count them."""
    max_frames: int | None = bounded(None, min=1)
    """Stop after this many frames of the source."""
    resize_mask: bool = False
    """Resize masks of another size than the frame."""
    overwrite: bool = False
    """Replace existing outputs, and a file that is not a snapshot by one."""
    late: Literal["drop", "wait"] | None = None
    """What happens to frames that arrive faster than they are tracked: `drop` (default of live sources) or `wait` (files)."""
    watchdog: float = bounded(5.0, min=0.1)
    """Seconds without a frame after which a live source is reopened."""
    confidence: bool | None = None
    """Whether the confidence of each object is estimated; by default for live sources."""
    fps: float | None = bounded(None, min=0.01)
    """Frame rate to hold, in frames a second; see `RateController`."""
    snapshot: str | Path | None = None
    """File that keeps the state."""
    snapshot_every: float = bounded(30.0, min=0)
    """Seconds between two snapshots."""
    resume: bool = False
    """Continue from the snapshot, where it exists."""
    resume_any: bool = False
    """Continue from a snapshot even if it was taken from another source."""
    names: str | None = None
    """Names of objects for the outputs, such as `1=dog,2=rider`; they replace those of an annotation."""
    control: str | Path | None = None
    """File of commands, see `CommandFile`, or mqtt://host/topic, see `CommandTopic`."""
    preview: bool = False
    """Show frames before there is a prompt; the prompt comes later, see `Session.correct`."""
    targets: tuple[str | Path | Target, ...] = ()
    """Targets to search and then follow, see `Target`; with targets a session needs no prompt."""
    save_target: str | Path | None = None
    """File (*.target) that keeps the painted frames, for `--target` of another run."""
