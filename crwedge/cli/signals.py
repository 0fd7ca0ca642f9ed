"""How a command ends: after a signal, or when the reader of its output has closed it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.shutdown import graceful_shutdown as graceful_shutdown


@contextlib.contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit silently with code 141 when the reader of standard output is closed."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes standard output at its end, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None


def exit_code(stop: StopToken) -> int:
    """0, or what a shell expects of a program that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 0 if stop.signal is None else 128 + stop.signal
