from __future__ import annotations

import os
import sys
import threading

import pytest

from crwedge.adapt.priority import giving_way


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of single threads")
def test_the_work_is_lowered_and_nothing_else() -> None:
    before = priority()
    assert giving_way(priority, 5) == min(before + 5, 19)
    assert priority() == before


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(KeyError, match="gone"):
        giving_way(lambda: {"here": 1}["gone"], 5)
