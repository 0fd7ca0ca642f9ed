"""How many streams of this process are at work at this moment, and what that leaves of the processors for each."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Gauge:
    def __init__(self) -> None:
        self.lock, self.count = threading.Lock(), 0


_AT_WORK = _Gauge()


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Around the work on one frame; not around the wait for the next one, which takes no processor."""
    with _AT_WORK.lock:
        _AT_WORK.count += 1
    try:
        yield
    finally:
        with _AT_WORK.lock:
            _AT_WORK.count -= 1


def alone() -> bool:
    """Whether no more than one stream is at work now."""
    return _AT_WORK.count <= 1


def share(threads: int) -> int:
    """How many of `threads` a stream should use now, at least one: more than there are processors get in each other's way."""
    return max(1, threads // max(1, _AT_WORK.count))
