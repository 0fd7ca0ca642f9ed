"""Put one folder in the place of another, so that at every moment one of the two stands there whole."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_HERE = -100
"""AT_FDCWD: paths are relative to the current folder."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""


def swap(new: Path, place: Path) -> None:
    """Move the folder `new` to `place`; what stood there, if anything, is at `new` afterwards.

    Linux exchanges the two names in one step. Where the file system cannot, the old folder steps aside first, and a
    process that dies between the two steps leaves nothing at `place`.
    """
    if not place.exists():
        os.rename(new, place)
        return
    if _exchange(new, place):
        return
    aside = new.with_name(new.name + ".old")
    os.rename(place, aside)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(aside, place)
        raise
    os.rename(aside, new)


def _exchange(a: Path, b: Path) -> bool:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return int(renameat2(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE)) == 0
