"""A worker: a process that follows one video after the other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import Any

from crwedge.batch.job import Job
from crwedge.batch.open import open_results
from crwedge.batch.runner import Runner

_REPORT_S = 0.25
"""Seconds between two reports of one video."""


def serve(connection: Connection, out: str, threads: int) -> None:
    """Take jobs from a connection until it closes or a None comes, and answer each with its record.

    Signals that end a whole group of processes are left to the parent. When the parent is gone this process ends at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _end_with_parent()
    # Notes go into the record; only what nobody foresaw is printed.
    faults = logging.StreamHandler()
    faults.setLevel(logging.ERROR)
    logging.getLogger("crwedge").addHandler(faults)
    results = open_results(out)
    with results.attend():
        runner = Runner(results, threads)
        while (task := _receive(connection)) is not None:
            job, attempt, run = task
            connection.send(("finished", runner.run(job, _Reports(connection), attempt, run)))
        runner.close()


def _receive(connection: Connection) -> tuple[Job, int, str] | None:
    try:
        task: Any = connection.recv()
    except (EOFError, OSError):
        return None
    parent = multiprocessing.parent_process()
    # A job that was sent by a parent that has been killed since is the next batch's.
    return task if parent is None or parent.is_alive() else None


class _Reports:
    """Sends the number of frames now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._next = connection, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_S
            self._connection.send(("advanced", done, total))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: Any) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), name="crwedge-parent", daemon=True).start()
