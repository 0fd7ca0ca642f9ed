"""A tracker's state in a file, so that a run goes on after a stop as if there had been none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.tensors import read_tensors, write_tensors
from crwedge.runtime.ops.events import silent

FORMAT = "crwedge-snapshot-1"


class SnapshotError(UserError):
    """A snapshot is damaged, or of another run."""


@dataclass(frozen=True)
class State:
    """What a tracker knows after a frame: its arrays, and everything else in plain values."""

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


def write_snapshot(path: str | Path, state: State) -> None:
    """Write a state whole or not at all; OSError when the disk is full, and the file before it stays."""
    write_tensors(Path(path), state.tensors, {"format": FORMAT, "state": json.dumps(state.facts)})


def read_snapshot(path: str | Path) -> State:
    """Read a state.

    Raises:
        TensorFileError: the file is missing or damaged.
        SnapshotError: it is no snapshot.
    """
    tensors, words = read_tensors(Path(path))
    if words.get("format") != FORMAT:
        raise SnapshotError(f"{path} is no snapshot of this version ({words.get('format')!r}); remove it to start anew")
    try:
        facts = json.loads(words["state"])
        state = State(tensors, facts)
        _ = state.index, facts["object_ids"], facts["settings"], tensors["features"]
    except (KeyError, ValueError, TypeError) as error:
        raise SnapshotError(f"the snapshot {path} is damaged ({error}); remove it to start anew") from error
    return state


class Snapshots:
    """Writes snapshots in the background: on demand, every so many seconds, and at the end.

    Args:
        path: the file, replaced each time.
        every: seconds between two.
        tell: told of each one, and of those that failed.
    """

    def __init__(self, path: str | Path, every: float = 30.0, tell: Callable[..., None] | None = None) -> None:
        """Nothing is written yet."""
        self.path, self.every = Path(path), every
        self.wanted = False
        """Set it, from anywhere, to have one after the next frame."""
        self._tell = silent if tell is None else tell
        self._last = time.monotonic()
        self._thread: threading.Thread | None = None

    def due(self) -> bool:
        """Whether one is to be taken now; never while one is still being written."""
        if self._thread is not None and self._thread.is_alive():
            return False
        return self.wanted or time.monotonic() - self._last >= self.every

    def take(self, state: State) -> Callable[[], None]:
        """Remember a state; what is returned writes it, once the outputs up to it are written."""
        self.wanted, self._last = False, time.monotonic()

        def write() -> None:
            self._thread = threading.Thread(target=self.write, args=(state,), name="crwedge-snapshot", daemon=True)
            self._thread.start()

        return write

    def write(self, state: State) -> bool:
        """Write one now; a disk that is full is told, and costs no more than that."""
        begin = time.perf_counter()
        try:
            write_snapshot(self.path, state)
        except OSError as error:
            self._tell("snapshot_failed", path=str(self.path), reason=error.strerror or str(error))
            return False
        spent = round(1e3 * (time.perf_counter() - begin))
        self._tell("snapshot", path=str(self.path), index=state.index, ms=spent)
        return True

    def finish(self, state: State | None) -> None:
        """Wait for the one that is being written, then write the last."""
        if self._thread is not None:
            self._thread.join()
        if state is not None:
            self.write(state)


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives them back: what two settings are compared by."""
    loaded: dict[str, Any] = json.loads(json.dumps(values, default=_number))
    return loaded


def _number(value: Any) -> Any:
    if isinstance(value, np.integer | np.floating):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")
