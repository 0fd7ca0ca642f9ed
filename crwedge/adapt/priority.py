"""Work at a lower priority than the frame path."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def giving_way(call: Callable[[], Result], nice: int) -> Result:
    """`call()` in a thread of its own whose priority is lowered by `nice`; waits for it, and raises what it raised.

    The thread ends with the call: only root may raise a priority again, and threads that are started from a lowered one
    stay as low. Where the system has no priorities of single threads, the call runs as any other.
    """

    def lowered() -> Result:
        if sys.platform == "linux":
            # Only Linux accepts the id of a thread in place of that of a process.
            with contextlib.suppress(OSError):
                own = threading.get_native_id()
                os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + nice)
        return call()

    with ThreadPoolExecutor(1, "crwedge-aside") as pool:
        return pool.submit(lowered).result()
