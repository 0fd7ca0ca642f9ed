"""What test-time training did, for people and for `--json`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger("crwedge")


@dataclass
class TestTimeStats:
    """Counts of a run."""

    __test__ = False

    windows: int = 0
    """Windows learnt from whose updates were kept."""
    undone: int = 0
    """Windows whose updates were undone."""
    dropped: int = 0
    """Windows that a newer one replaced before the trainer was free."""
    updates: int = 0
    """Of the weights, kept."""
    swaps: int = 0
    """Engines handed to the tracker."""
    seconds: float = 0.0
    """Of training, all windows together."""
    engine_seconds: float = 0.0
    """Of opening engines with new weights."""
    loss: float | None = None
    """Of the last update."""
    held: tuple[float, float] | None = None
    """Cycle error on held frames before and after the last window."""
    stopped: str = ""
    """Why training ended before the video did; empty while it goes on."""

    def keep(self, outcome: Mapping[str, Any], engine_seconds: float) -> None:
        """A window's updates were kept."""
        self.windows += 1
        self.updates += outcome["updates"]
        self.engine_seconds += engine_seconds
        self._note(outcome)

    def undo(self, outcome: Mapping[str, Any], most: int) -> None:
        """A window's updates were undone; after `most` of them training ends."""
        self.undone += 1
        self._note(outcome)
        _log.info("test-time training: a window was undone: %s", outcome["undone"])
        if self.undone >= most:
            self.stop(f"{most} windows had to be undone, the last because {outcome['undone']}")

    def stop(self, reason: str) -> None:
        """Training ends; tracking goes on."""
        self.stopped = reason
        _log.info("test-time training has stopped: %s; tracking goes on with the last good weights", reason)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    def _note(self, outcome: Mapping[str, Any]) -> None:
        self.seconds += outcome["seconds"]
        self.loss = outcome["loss"]
        self.held = (outcome["held_before"], outcome["held_after"])


def _plain(value: Any) -> Any:
    """Numbers to five places, and none that JSON has no word for."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
