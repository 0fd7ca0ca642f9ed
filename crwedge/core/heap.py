"""Keep freed memory in the process, for programs that take the same large arrays again and again."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt` (malloc.h)."""
_PAD = 256 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed: training on the CPU then has no page to fault in at every step.

    The whole process keeps its greatest size until it ends, so it is for processes that do nothing else. Left alone are
    settings that the user made by glibc's environment variables.

    Returns:
        Whether it could be set; only glibc has it.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all(
        mallopt(name, value) == 1 for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD))
    )
