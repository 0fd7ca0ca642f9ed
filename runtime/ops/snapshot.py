"""A tracker's state in a file, so that a run can continue after a stop with the same results."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.json_text import parse_json
from crwedge.core.labels import LabelMap
from crwedge.core.tensors import HASH, TensorFileError, read_tensors, read_words, write_tensors
from crwedge.runtime.events import silent
from crwedge.runtime.observer import Observer

_KIND = "crwedge-snapshot-"
FORMAT = f"{_KIND}3"
"""Since 3 a snapshot has a hash."""
_CURE = "name another snapshot, or remove the file to start again"


class SnapshotError(UserError):
    """A snapshot is damaged, or of another run."""


@dataclass(frozen=True)
class State:
    """The state of a tracker after a frame: arrays and plain values."""

    tensors: dict[str, NDArray[Any]]
    facts: dict[str, Any]

    @property
    def index(self) -> int:
        """How many frames were labelled."""
        return int(self.facts["index"])

    @property
    def source_index(self) -> int | None:
        """Number of the last frame in its source, from 0."""
        number = self.facts.get("source_index")
        return None if number is None else int(number)

    @property
    def names(self) -> dict[int, str]:
        """Names of objects."""
        return {int(i): str(name) for i, name in self.facts.get("names", ())}

    @property
    def pts_now(self) -> float | None:
        """The time stamp that a frame of a live source would have now, had the run never stopped."""
        pts, when = self.facts.get("pts"), self.facts.get("time")
        return None if pts is None or when is None else float(pts) + max(0.0, time.time() - float(when))

    def check_source(self, source: str) -> None:
        """Refuse another source.

        Raises:
            SnapshotError: the snapshot was taken from a source of another name.
        """
        if (taken := self.facts.get("source")) != source:
            raise SnapshotError(
                f"the snapshot was taken from {taken}, not from {source}; name that source, or add --set resume-any=true"
            )


def write_snapshot(path: str | Path, state: State) -> None:
    """Write a state whole or not at all; OSError when the disk is full, and the file before it stays."""
    write_tensors(Path(path), state.tensors, {"format": FORMAT, "state": json.dumps(state.facts)})


def read_snapshot(path: str | Path) -> State:
    """Read a state.

    Raises:
        SnapshotError: the file is missing, damaged or not a snapshot of this version.
    """
    try:
        tensors, words = read_tensors(Path(path))
    except TensorFileError as error:
        raise SnapshotError(f"{str(error).removesuffix('; remove it')}; {_CURE}") from error
    form = words.get("format", "")
    if not form.startswith(_KIND):
        raise SnapshotError(f"{path} is not a snapshot; {_CURE}")
    if form != FORMAT:
        raise SnapshotError(f"{path} is a snapshot of another version of crwedge ({form}); {_CURE}")
    try:
        facts = parse_json(words["state"])
        state = State(tensors, facts)
        _ = state.index, facts["object_ids"], facts["settings"], tensors["features"], words[HASH]
    except (KeyError, ValueError, TypeError) as error:
        raise SnapshotError(f"the snapshot {path} is damaged ({error}); {_CURE}") from error
    return state


def is_snapshot(path: str | Path) -> bool:
    """Whether a file is a snapshot of any version, by what it says of itself."""
    return read_words(Path(path)).get("format", "").startswith(_KIND)


class Snapshots(Observer):
    """Writes snapshots in the background: on demand, every so many seconds, and at the end.

    A snapshot is written once the outputs up to its frame are written. A full disk costs an event, not the stream.

    Args:
        path: the file, replaced each time.
        take_state: gives the state after the last labelled frame.
        every: seconds between two snapshots.
        on_event: called for each snapshot, and for those that failed.
    """

    def __init__(
        self,
        path: str | Path,
        take_state: Callable[[], State],
        every: float = 30.0,
        on_event: Callable[..., None] = silent,
    ) -> None:
        self.path, self.every = Path(path), every
        self.wanted = False
        """Set it, from any thread or signal handler, to take a snapshot after the next frame."""
        self._take_state, self._on_event = take_state, on_event
        self._last = time.monotonic()
        self._taken: tuple[int, State] | None = None
        self._pts: float | None = None
        self._thread: threading.Thread | None = None

    def after(self, labels: LabelMap) -> None:
        """Take the state where a snapshot is due; never while another one is being written."""
        self._pts = labels.pts
        if not labels.object_ids:
            return
        writing = self._taken is not None or (self._thread is not None and self._thread.is_alive())
        if not writing and (self.wanted or time.monotonic() - self._last >= self.every):
            self.wanted, self._last = False, time.monotonic()
            self._taken = labels.index, self._state()

    def written(self, labels: LabelMap) -> None:
        """Write the state of this frame."""
        if self._taken is not None and self._taken[0] == labels.index:
            state, self._taken = self._taken[1], None
            self._thread = threading.Thread(target=self.write, args=(state,), name="crwedge-snapshot", daemon=True)
            self._thread.start()

    def write(self, state: State) -> bool:
        """Write a snapshot now; returns whether that worked."""
        begin = time.perf_counter()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_snapshot(self.path, state)
        except OSError as error:
            self._on_event("snapshot_failed", path=str(self.path), reason=error.strerror or str(error))
            return False
        spent = round(1e3 * (time.perf_counter() - begin))
        self._on_event("snapshot", path=str(self.path), index=state.index, ms=spent)
        return True

    def finish(self) -> None:
        """Wait for the snapshot that is being written, then write the last one. All outputs must be written."""
        if self._thread is not None:
            self._thread.join()
        self.write(self._state())

    def _state(self) -> State:
        state = self._take_state()
        return replace(state, facts={**state.facts, "pts": self._pts, "time": time.time()})


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives them back: what two settings are compared by."""
    loaded: dict[str, Any] = json.loads(json.dumps(values, default=_number))
    return loaded


def _number(value: Any) -> Any:
    if isinstance(value, np.integer | np.floating):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a plain value")
