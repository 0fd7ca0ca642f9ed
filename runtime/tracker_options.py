"""Options of a tracker."""

from __future__ import annotations

from dataclasses import dataclass

from crwedge.core.described import described
from crwedge.runtime.propagation.view import Size


@described
@dataclass(frozen=True)
class TrackerOptions:
    """How a tracker works beside its protocol."""

    size: Size | None = None
    """(H, W) to compute at; label maps keep the frame's own size. None computes at the frame's size."""
    confidence: bool = False
    """Whether to estimate how far each object can be trusted, without knowing the truth."""
    any_size: bool = False
    """Whether frames may change their size: later ones are then computed at the first one's."""
