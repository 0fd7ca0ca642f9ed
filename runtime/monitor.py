"""Confidence and state (`ok`, `recovering`, `lost`) of each object, and the wider search after a gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Prediction
from crwedge.runtime.propagation.confidence import CALIBRATION

OK, RECOVERING, LOST = "ok", "recovering", "lost"
SEARCHING = "searching"
"""Of an object that was never found; see `crwedge.runtime.target_finder`."""

TRUSTED = 0.5
"""Confidence from which on a frame counts as good."""
DOUBTED = 0.25
"""Confidence below which a frame counts as bad; between the two nothing changes, so that states do not flicker."""
_GOOD_IN_A_ROW = 3
_BAD_IN_A_ROW = 3
_BLIND = 5
"""Frames for which an object is `recovering` after a gap where confidence is not measured."""
_LONGEST = 50
"""Frames after a gap during which the search may stay wide: it costs four times as much."""
_WIDER = 2.0
"""How much wider the search is after a gap."""
KEPT_OVER_A_GAP = 3
"""Frames of the ring that are kept over a gap: the newest ones with good confidence."""


def expected_overlap(prediction: Prediction, ids: tuple[int, ...]) -> dict[int, float]:
    """Expected overlap J of each object with the truth, 0 to 1; without objects that no pinned frame shows."""
    signs = prediction.confidence_signs()
    return {i: CALIBRATION(of_one) for i, of_one in zip(ids, signs, strict=True) if of_one is not None}


class Monitor:
    """The states of all objects of a stream. Every object is `ok` at first."""

    def __init__(self) -> None:
        self._states: dict[int, str] = {}
        self._runs: dict[int, int] = {}
        self._wide_left = 0

    def gap(self, ids: tuple[int, ...]) -> None:
        """Frames are missing: every object becomes `recovering`."""
        for object_id in ids:
            self._states[object_id], self._runs[object_id] = RECOVERING, 0
        self._wide_left = _LONGEST

    def prompted(self, ids: tuple[int, ...]) -> None:
        """A prompt gave the position of these objects."""
        for object_id in ids:
            self._states[object_id], self._runs[object_id] = OK, 0

    @property
    def wide(self) -> bool:
        """Whether to search in a wider radius: after a gap, until every object is found or given up."""
        return self._wide_left > 0 and RECOVERING in self._states.values()

    def search(self, settings: PropagationSettings) -> PropagationSettings:
        """The neighbourhood of the next frame."""
        return settings.with_changes(radius=settings.radius * _WIDER) if self.wide and settings.local else settings

    def judge(
        self, ids: tuple[int, ...], confidence: Mapping[int, float], present: Mapping[int, bool]
    ) -> dict[int, str]:
        """The states after one more frame.

        Args:
            ids: the objects followed.
            confidence: of each, 0 to 1; empty where it is not measured.
            present: whether each has any pixel.
        """
        self._wide_left = max(0, self._wide_left - 1)
        self._states = {i: self._states.get(i, OK) for i in ids}
        self._runs = {i: self._runs.get(i, 0) for i in ids}
        for object_id in ids:
            self._step(object_id, confidence.get(object_id), present[object_id])
        return dict(self._states)

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        return {
            "states": [[i, state] for i, state in self._states.items()],
            "runs": [[i, run] for i, run in self._runs.items()],
            "wide_left": self._wide_left,
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._states = {int(i): str(state) for i, state in values["states"]}
        self._runs = {int(i): int(run) for i, run in values["runs"]}
        self._wide_left = int(values["wide_left"])

    def _step(self, object_id: int, confidence: float | None, present: bool) -> None:
        state, run = self._states[object_id], self._runs[object_id]
        good = present and (confidence is None or confidence >= TRUSTED)
        bad = not present or (confidence is not None and confidence < DOUBTED)
        # Positive runs count good frames, negative ones bad frames.
        run = max(run, 0) + 1 if good else min(run, 0) - 1 if bad else 0
        enough = _BLIND if confidence is None else _GOOD_IN_A_ROW
        if run <= -_BAD_IN_A_ROW:
            state = LOST
        elif state == LOST and good:
            state, run = RECOVERING, 1
        elif state == RECOVERING and run >= enough:
            state = OK
        self._states[object_id], self._runs[object_id] = state, run
