"""Numba's compiler with the one set of options that all kernels share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile at the first call, without the GIL, and keep the machine code on disk where a place can be written.

    Floating point stays exact (no fastmath): results must not depend on the machine's vector width.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder for the cache: a read-only system without a home
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
