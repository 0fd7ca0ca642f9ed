"""How much of the work a tracker does for each frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QualityLevel:
    """How much of the work is done for each frame."""

    context: float = 1.0
    """Share of the ring that is looked back at; all of it is kept."""
    radius: float = 1.0
    """Share of the search radius."""
    cells: float = 1.0
    """Share of the budget of cells, where the computed part of the frame follows the objects."""
