"""What happens to a stream, one JSON line each: for a person, a log collector and the counters of `--metrics`."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from crwedge.core.errors import SinkError


class EventLog:
    """Writes events as JSON lines to stderr or to a file, and counts them.

    A file is opened again when it was moved or removed, so a log rotation needs no signal and loses no line. A disk
    that is full costs lines, never the stream.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """With a path, lines are added to that file; without, they go to stderr."""
        self.path = None if path is None else Path(path)
        self.counts: Counter[str] = Counter()
        self._file: IO[str] | None = None
        self._lock = threading.Lock()
        if self.path is not None:
            try:
                self._file = self.path.open("a", encoding="utf-8")
            except OSError as error:
                raise SinkError(f"cannot write the log {self.path}: {error.strerror}; choose another --log") from error

    def __call__(self, event: str, **facts: Any) -> None:
        """Log one event."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **facts}) + "\n"
        with self._lock:
            self.counts[event] += 1
            try:
                file = self._current()
                file.write(line)
                file.flush()
            except (OSError, ValueError):
                self.counts["log_lost"] += 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _current(self) -> IO[str]:
        if self.path is None:
            return sys.stderr
        if self._file is None or self._moved(self._file):
            if self._file is not None:
                self._file.close()
            self._file = self.path.open("a", encoding="utf-8")
        return self._file

    def _moved(self, file: IO[str]) -> bool:
        assert self.path is not None
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        here = os.fstat(file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def silent(event: str, **facts: Any) -> None:
    """Nobody listens."""
