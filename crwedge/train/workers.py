"""Processes that decode for the trainer: how they start, and what happens when one is ended from outside."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from crwedge.core.errors import UserError

START_METHOD = "spawn"
"""A forked child inherits objects of the parent without the threads that serve them. When its garbage collector frees one, such
as a decoder of libav with its own threads, it waits for these threads forever."""


class LoaderError(UserError):
    """A process that decodes was ended from outside."""


def ignore_stop_signals(worker: int = 0) -> None:
    """For a worker: SIGINT and SIGTERM go to the whole process group, and the trainer alone ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def one_line_of_death() -> Iterator[None]:
    """Turn the error of a loader whose worker died into a LoaderError with the cure."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise LoaderError(
            "a process that decodes clips was ended from outside, most often for want of memory: lower data.workers or "
            'data.batch and go on with --resume (in a script, call fit below `if __name__ == "__main__":`)'
        ) from error
