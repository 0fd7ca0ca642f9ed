"""A bounded, stoppable queue between two threads, with a drop-oldest mode."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds between two checks of the stop token. A new item wakes the other thread at once."""


class StopToken:
    """Asks every part of a run to finish its work and end.

    It holds no lock, so a signal handler may set it at any moment.
    """

    def __init__(self) -> None:
        self._set = False
        self.signal: int | None = None
        """Number of the first signal that asked for the stop, if one did."""

    def set(self, signal: int | None = None) -> None:
        """Ask for the stop."""
        if self.signal is None:
            self.signal = signal
        self._set = True

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._set


class FrameQueue(Generic[T]):
    """A queue of at most `size` items.

    Args:
        size: how many items may wait.
        stop: ends all waiting.
    """

    def __init__(self, size: int, stop: StopToken) -> None:
        self._items: deque[tuple[T, bool]] = deque()
        self._size, self._stop = size, stop
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, always: bool = False) -> bool:
        """Add an item; waits while the queue is full.

        Args:
            item: what to hand over.
            always: hand it over after a stop too.

        Returns:
            Whether the item was taken. It is not once the queue is closed or the run was stopped.
        """

        def over() -> bool:
            return self._closed or (self._stop.is_set() and not always)

        with self._changed:
            while len(self._items) >= self._size and not over():
                self._changed.wait(_POLL)
            if over():
                return False
            self._items.append((item, False))
            self._changed.notify_all()
            return True

    def put_latest(self, item: T, keep: bool = False, merge: Callable[[T, T], None] | None = None) -> T | None:
        """Add an item without waiting; drops the oldest item of a full queue.

        Args:
            item: what to hand over.
            keep: never drop this item for a later one. It does not count towards the size.
            merge: called with the dropped and the new item before the new one can be taken.

        Returns:
            The item that was dropped, if any: the oldest one, or `item` itself once the queue is closed or stopped.
        """
        with self._changed:
            if self._closed or self._stop.is_set():
                return item
            dropped: T | None = None
            loose = [i for i, (_, kept) in enumerate(self._items) if not kept]
            if len(loose) >= self._size:
                dropped = self._items[loose[0]][0]
                del self._items[loose[0]]
                if merge is not None:
                    merge(dropped, item)
            self._items.append((item, keep))
            self._changed.notify_all()
            return dropped

    def get(self, drain: bool = False, timeout: float | None = None) -> T | None:
        """Take the oldest item; waits for one.

        Args:
            drain: go on after a stop until the queue is closed and empty.
            timeout: seconds to wait at most.

        Returns:
            The item, or None when the queue is closed and empty, or the run was stopped.

        Raises:
            TimeoutError: nothing came in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                if self._stop.is_set() and not drain:
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

    def close(self) -> None:
        """End the input; waiting items can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> int:
        """Remove all waiting items and return how many there were."""
        with self._changed:
            count = len(self._items)
            self._items.clear()
            self._changed.notify_all()
            return count
