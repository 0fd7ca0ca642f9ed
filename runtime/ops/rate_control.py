"""Rate control: lower the quality in steps while the tracker is too slow, and raise it again when there is time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from crwedge.core.labels import LabelMap
from crwedge.runtime.events import silent
from crwedge.runtime.observer import Observer
from crwedge.runtime.quality import QualityLevel

if TYPE_CHECKING:
    from crwedge.core.settings import PropagationSettings
    from crwedge.runtime.sources.frame import FrameSource
    from crwedge.runtime.tracker import Tracker

_log = logging.getLogger("crwedge")

_WINDOW = 12
"""Frames between two changes. Their median decides, so one slow frame changes nothing."""
_USUAL_RATE = 30.0
"""Frames a second of a camera that does not give its rate."""
_ROOM = 0.6
"""Quality is raised only below this share of the time allowed, because a step up costs about a third more."""


LEVELS = (
    QualityLevel(),
    QualityLevel(context=0.5),
    QualityLevel(context=0.25),
    QualityLevel(context=0.25, radius=0.67),
    QualityLevel(context=0.25, radius=0.5),
)
"""Of whole frames, in the order in which they are tried: fewer context frames cost the least accuracy."""
CELL_LEVELS = tuple(QualityLevel(cells=0.8**step) for step in range(6))
"""Of a region: the cells alone decide its time."""


def rate_to_hold(fps: float | None, source: FrameSource, settings: PropagationSettings) -> float | None:
    """Frames a second to hold: what was asked for, or the camera's own where a region can be made smaller for it."""
    if fps is not None or not source.live or settings.cells is None:
        return fps
    rate, least = source.fps or _USUAL_RATE, round(settings.cells * CELL_LEVELS[-1].cells)
    _log.info(
        "%g frames a second are held with %d to %d cells of each frame (--set fps, --cells)",
        rate,
        least,
        settings.cells,
    )
    return rate


class RateController(Observer):
    """Chooses the quality level from the time that each frame takes in the tracker.

    Args:
        tracker: the tracker to control; it starts at full quality.
        fps: frames a second to hold.
        on_event: called at each change.
    """

    def __init__(self, tracker: Tracker, fps: float, on_event: Callable[..., None] = silent) -> None:
        self.fps, self.level = fps, 0
        self.levels = LEVELS if tracker.settings.cells is None else CELL_LEVELS
        self._tracker, self._on_event = tracker, on_event
        self._spent: deque[float] = deque(maxlen=_WINDOW)
        self._tries, self._frames_at_level, self._rose = 0, 0, False

    def after(self, labels: LabelMap) -> None:
        """Record the time of a frame, and change the level where that is due."""
        self._spent.append(sum(self._tracker.stages_ms.values()))
        self._frames_at_level += 1
        if len(self._spent) < _WINDOW:
            return
        typical, allowed = sorted(self._spent)[_WINDOW // 2], 1e3 / self.fps
        if typical > allowed and self.level + 1 < len(self.levels):
            # A rise that did not fit for long: wait twice as long before the next one.
            in_vain = self._rose and self._frames_at_level < 4 * _WINDOW
            if self._rose:
                self._tries = min(self._tries + 1, 6) if in_vain else 0
            self._go(self._fitting(typical / allowed), typical, allowed)
        elif typical < _ROOM * allowed and self.level > 0 and self._frames_at_level >= _WINDOW * 2**self._tries:
            self._go(self.level - 1, typical, allowed)

    def _fitting(self, excess: float) -> int:
        """The next level, or of cells the first whose time fits, as time goes with their number."""
        level, most = self.level + 1, len(self.levels) - 1
        while level < most and self.levels[self.level].cells < excess * self.levels[level].cells:
            level += 1
        return level if self.levels is CELL_LEVELS else self.level + 1

    def _go(self, level: int, typical: float, allowed: float) -> None:
        quality = self.levels[level]
        self._tracker.set_quality(quality)
        times = {"typical_ms": round(typical, 1), "allowed_ms": round(allowed, 1)}
        self._on_event("quality", level=level, **asdict(quality), **times)
        self._rose = level < self.level
        self.level, self._frames_at_level = level, 0
        self._spent.clear()
