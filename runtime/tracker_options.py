"""Options of a tracker."""

from __future__ import annotations

from dataclasses import dataclass

from crwedge.core.described import described
from crwedge.runtime.propagation.view import Size


@described
@dataclass(frozen=True)
class TrackerOptions:
    """Options of a tracker beside its protocol."""

    size: Size | None = None
    """(H, W) to compute at; label maps keep the frame's own size. None computes at the frame's size."""
    confidence: bool = False
    """Whether to estimate the confidence of each object (its expected overlap with the truth)."""
    any_size: bool = False
    """Whether the frame size may change. Later frames are then computed at the size of the first."""
