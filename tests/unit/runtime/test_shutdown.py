"""Signals: the first one asks, the second one ends at once."""

from __future__ import annotations

import signal
import threading

import pytest

from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.shutdown import graceful_shutdown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopToken()
    with graceful_shutdown(stop):
        signal.raise_signal(number)
        assert stop.is_set()
        assert stop.signal == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_snapshot_on_demand_stops_nothing() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    stop, asked = StopToken(), []
    with graceful_shutdown(stop, lambda: asked.append(1)):
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
    assert asked == [1, 1]
    assert not stop.is_set()
    assert signal.getsignal(signal.SIGUSR1) is before


def test_another_thread_leaves_the_handlers_alone() -> None:
    found = []

    def run() -> None:
        with graceful_shutdown(StopToken(), lambda: None):
            found.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)])

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]
