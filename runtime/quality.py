"""How much of the work a tracker does for each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crwedge.core.settings import PropagationSettings


@dataclass(frozen=True)
class QualityLevel:
    """How much of the work is done for each frame."""

    context: float = 1.0
    """Share of the ring that is compared; all of it is kept."""
    radius: float = 1.0
    """Share of the search radius."""
    cells: float = 1.0
    """Share of the budget of cells, where the computed part of the frame follows the objects."""

    def reduced(
        self, settings: PropagationSettings, everywhere: bool = False
    ) -> tuple[PropagationSettings, int | None]:
        """Settings of one frame's search, and how many places of the ring are compared; None for all.

        Args:
            settings: at full quality.
            everywhere: search without a neighbourhood, whatever the level.
        """
        if everywhere:
            settings = settings.with_changes(radius=math.inf)
        elif settings.local and self.radius != 1:
            settings = settings.with_changes(radius=max(2.0, round(settings.radius * self.radius)))
        return settings, None if self.context >= 1 else max(1, round(settings.context_length * self.context))
