"""SIGINT and SIGTERM as a request to end in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from crwedge.runtime.frame_queue import Halt


@contextlib.contextmanager
def ending_in_good_order(halt: Halt, on_demand: Callable[[], None] | None = None) -> Iterator[None]:
    """While the block runs, the first SIGINT or SIGTERM sets `halt`; a second one ends at once.

    Args:
        halt: set with the signal's number.
        on_demand: called at SIGUSR1.
    """

    def ask(number: int, _: Any) -> None:
        if halt.is_set():
            raise KeyboardInterrupt
        halt.set(number)

    def demand(_: int, __: Any) -> None:
        if on_demand is not None:
            on_demand()

    # Only the main thread may set handlers; elsewhere whoever started us decides.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Any] = {signal.SIGINT: ask, signal.SIGTERM: ask}
    if on_demand is not None:
        handlers[signal.SIGUSR1] = demand
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(halt: Halt) -> int:
    """0, or what a shell expects of a program that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 0 if halt.signal is None else 128 + halt.signal
