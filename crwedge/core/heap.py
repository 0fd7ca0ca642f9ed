"""A setting of glibc for programs that allocate the same large arrays again and again."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt` (malloc.h)."""
_PAD = 256 << 20


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory, so that a training step on the CPU does not fault its pages in again.

    The process keeps its peak size until it ends, so this is for processes that only train. glibc reads its environment
    variables (`MALLOC_*`) when a process starts, so a running process has to call `mallopt`. Nothing is changed where the user
    has set one of these variables.

    Returns:
        Whether the setting was made; only glibc has it.
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
