"""Events of a stream, one JSON line each: for a person, a log collector and the counters of `/metrics`."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections import Counter
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from crwedge.core.clock import utc_time
from crwedge.core.errors import SinkError


class StderrHandler(logging.Handler):
    """Writes lines to the present `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            self.handleError(record)


class EventLog:
    """Writes events as JSON lines and counts them.

    A file that was moved or removed is opened again, so log rotation needs no signal and loses no line. A full disk loses
    lines, which are counted as `log_lost`, and never stops the stream.

    Args:
        path: the file that lines are added to; None for stderr.

    Raises:
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        try:
            self._handler = StderrHandler() if path is None else WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            raise SinkError(
                f"cannot write the log {path}: {error.strerror}; choose another file (--set log=FILE)"
            ) from error
        self._handler.handleError = self._lost  # type: ignore[method-assign]

    def __call__(self, event: str, **facts: Any) -> None:
        """Log one event with the present time (UTC)."""
        record = logging.makeLogRecord({"msg": json.dumps({"time": utc_time(), "event": event, **facts})})
        with self._lock:
            self.counts[event] += 1
            try:
                self._handler.handle(record)
            except OSError:
                self._lost(record)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._handler.close()

    def _lost(self, record: logging.LogRecord) -> None:
        self.counts["log_lost"] += 1


def silent(event: str, **facts: Any) -> None:
    """Ignore an event."""
