"""Finish the step, save, leave: what the first SIGINT or SIGTERM asks for. A second one ends at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """Remembers that a signal came; the handlers of before are back when the block ends."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        """Listen. Only the main thread can; elsewhere signals are left to it."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
