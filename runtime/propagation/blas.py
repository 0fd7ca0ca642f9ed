"""One BLAS thread for each of ours, for as long as any of ours is at work."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy  # noqa: F401  its BLAS has to be loaded before it is looked for
from threadpoolctl import ThreadpoolController


class _Limit:
    """The limit is the whole process's: with several streams, the first to come sets it and the last to go lifts it.

    Were each to restore what it found, one that ends would give the others more threads than processors, and the last
    would leave the limit behind.

    Libraries are looked for once, when this module is imported, and so before a stream starts its threads: threadpoolctl
    holds the lock of the dynamic loader while it runs Python for each library, and a thread that imports an extension at
    that moment holds Python and waits for the loader. Neither would ever go on.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._controller = ThreadpoolController()
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._take_over(self._controller)
                self._limiter = self._controller.limit(limits=1, user_api="blas")

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._take_over(self._controller)
                self._limiter.restore_original_limits()

    @staticmethod
    def _take_over(controller: ThreadpoolController) -> None:
        """Let the calling thread set the limit: from 3.8 on threadpoolctl heeds one thread, and passes over the others."""
        for library in controller.lib_controllers:
            forget = getattr(library, "clear_controlling_thread", None)
            if forget is not None:
                forget(force=True)


_LIMIT = _Limit()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products inside run in the thread that calls them; blocks of several threads may overlap."""
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()
