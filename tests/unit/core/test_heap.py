"""Freed memory that stays in the process: page faults, counted in processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from crwedge.core.heap import keep_freed_memory
kept = keep_freed_memory() if "keep" in sys.argv else False
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(1 << 23)
before = faults()
for _ in range(4):
    np.ones(1 << 23)
print(int(kept), faults() - before)
"""


def faults(*words: str, **environment: str) -> tuple[bool, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = done.stdout.split()
    return kept == "1", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_no_page_is_faulted_in_again() -> None:
    kept, few = faults("keep")
    assert kept
    _, many = faults()
    assert few < 100 < many


def test_the_users_own_settings_are_left_alone() -> None:
    assert faults("keep", MALLOC_TOP_PAD_="1048576")[0] is False
