"""What two threads hand frames over with: a bounded queue that can be stopped, and that can drop."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds between looks at the halt; a hand-over itself wakes the other side at once."""


class Halt:
    """Asks every part of a run to end in good order.

    It holds no lock, so that a signal handler may set it at any moment.
    """

    def __init__(self) -> None:
        """Nobody asked yet."""
        self._set = False
        self.signal: int | None = None
        """The number of the signal that asked, if one did."""

    def set(self, signal: int | None = None) -> None:
        """Ask; the first signal is remembered."""
        if self.signal is None:
            self.signal = signal
        self._set = True

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._set


class Mailbox(Generic[T]):
    """A queue of at most `size` items.

    Args:
        size: how many may wait.
        halt: ends all waiting.
    """

    def __init__(self, size: int, halt: Halt) -> None:
        """Open and empty."""
        self._items: deque[tuple[T, bool]] = deque()
        self._size, self._halt = size, halt
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, always: bool = False) -> bool:
        """Wait for room; False when the box was closed or the run halted first, and the item was not taken.

        Args:
            item: what to hand over.
            always: hand it over after a halt too.
        """

        def over() -> bool:
            return self._closed or (self._halt.is_set() and not always)

        with self._changed:
            while len(self._items) >= self._size and not over():
                self._changed.wait(_POLL)
            if over():
                return False
            self._items.append((item, False))
            self._changed.notify_all()
            return True

    def offer(self, item: T, keep: bool = False) -> T | None:
        """Never wait: the newest wins. Returns what had to make way, if anything.

        Args:
            item: what to hand over.
            keep: whether it must not make way for later ones; it takes no room either.
        """
        with self._changed:
            if self._closed or self._halt.is_set():
                return item
            gone: T | None = None
            loose = [i for i, (_, kept) in enumerate(self._items) if not kept]
            if len(loose) >= self._size:
                gone = self._items[loose[0]][0]
                del self._items[loose[0]]
            self._items.append((item, keep))
            self._changed.notify_all()
            return gone

    def get(self, drain: bool = False, timeout: float | None = None) -> T | None:
        """The oldest item, waited for; None when the box is closed and empty, or the run halted.

        Args:
            drain: go on after a halt until the box is closed and empty.
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: nothing came in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                if self._halt.is_set() and not drain:
                    return None
                if self._items:
                    item, _ = self._items.popleft()
                    self._changed.notify_all()
                    return item
                if self._closed:
                    return None
                if until is not None and time.monotonic() >= until:
                    raise TimeoutError
                self._changed.wait(_POLL)

    def peek(self) -> T | None:
        """The item that `get` would give now, which stays where it is and may make way for another; None when none waits."""
        with self._changed:
            return self._items[0][0] if self._items else None

    def close(self) -> None:
        """Nothing more will come; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def discard(self) -> int:
        """Throw away what waits, and say how much it was."""
        with self._changed:
            count = len(self._items)
            self._items.clear()
            self._changed.notify_all()
            return count
