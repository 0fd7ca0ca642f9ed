"""SIGINT and SIGTERM end the run after the work in progress."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from crwedge.runtime.frame_queue import StopToken


@contextlib.contextmanager
def graceful_shutdown(stop: StopToken, on_demand: Callable[[], None] | None = None) -> Iterator[None]:
    """While the block runs, the first SIGINT or SIGTERM sets `stop`; a second one ends at once.

    Args:
        stop: set with the signal's number.
        on_demand: called at SIGUSR1.
    """

    def ask(number: int, _: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set(number)

    def demand(_: int, __: Any) -> None:
        if on_demand is not None:
            on_demand()

    # Only the main thread may set handlers.
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
