"""Hold a rate: give up accuracy in a stated order while the tracker is too slow, and take it back when it is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from crwedge.runtime.ops.events import silent
from crwedge.runtime.quality import QualityLevel

_WINDOW = 12
"""Frames between two changes: their median decides, so that one slow frame changes nothing."""
_ROOM = 0.6
"""A step back is taken only below this share of the time allowed, because it costs about a third more."""


ORDER = (
    QualityLevel(),
    QualityLevel(context=0.5),
    QualityLevel(context=0.25),
    QualityLevel(context=0.25, radius=0.67),
    QualityLevel(context=0.25, radius=0.5),
)
"""What is given up, in this order: context first, as it costs the least accuracy."""


class Tunable(Protocol):
    """A tracker that can do less."""

    def set_quality(self, level: QualityLevel) -> None:
        """From the next frame on, do the given shares of the full work."""
        ...


class Budget:
    """Watches the time of each frame and chooses the level.

    Args:
        tracker: what is tuned.
        fps: frames a second to hold.
        tell: told of each change.
    """

    def __init__(self, tracker: Tunable, fps: float, tell: Callable[..., None] | None = None) -> None:
        """Full work at first."""
        self.fps, self.level = fps, 0
        self._tracker, self._tell = tracker, silent if tell is None else tell
        self._spent: deque[float] = deque(maxlen=_WINDOW)
        self._tries, self._patience, self._rose = 0, 0, False

    def note(self, spent_ms: float) -> None:
        """A frame took so long in the tracker."""
        self._spent.append(spent_ms)
        self._patience += 1
        if len(self._spent) < _WINDOW:
            return
        typical, allowed = sorted(self._spent)[_WINDOW // 2], 1e3 / self.fps
        if typical > allowed and self.level + 1 < len(ORDER):
            # Giving up again soon what was just taken back: it does not fit, wait longer before the next try.
            in_vain = self._rose and self._patience < 4 * _WINDOW
            self._tries = min(self._tries + 1, 6) if in_vain else 0 if self._rose else self._tries
            self._go(self.level + 1, typical, allowed)
        elif typical < _ROOM * allowed and self.level > 0 and self._patience >= _WINDOW * 2**self._tries:
            self._go(self.level - 1, typical, allowed)

    def _go(self, level: int, typical: float, allowed: float) -> None:
        what = ORDER[level]
        self._tracker.set_quality(what)
        self._tell(
            "budget",
            level=level,
            context=what.context,
            radius=what.radius,
            typical_ms=round(typical, 1),
            allowed_ms=round(allowed, 1),
        )
        self.level, self._patience, self._rose = level, 0, level < self.level
        self._spent.clear()
