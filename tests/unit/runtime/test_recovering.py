"""A live source that fails in every way, on a clock that runs faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import SourceError
from crwedge.runtime.sources import reconnecting as recovering
from crwedge.runtime.sources.reconnecting import ReconnectingSource
from tests.streaming.parts import ListSource, threads_left

QUICK = (0.02, 0.04, 0.06)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert threads_left() == []


class Log(list[tuple[str, dict[str, Any]]]):
    def __call__(self, event: str, **facts: Any) -> None:
        self.append((event, facts))

    @property
    def words(self) -> list[str]:
        return [event for event, _ in self]


def takes(connections: list[ListSource | SourceError]) -> Callable[[], ListSource]:
    """Opens one after the other; the last one again and again."""

    def connect() -> ListSource:
        found = connections.pop(0) if len(connections) > 1 else connections[0]
        if isinstance(found, SourceError):
            raise found
        return found

    return connect


def take(source: ReconnectingSource, count: int) -> list[cw.Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    source.close()
    return frames


def test_a_source_that_ends_or_fails_is_opened_again() -> None:
    log = Log()
    gone = SourceError("refused")
    parts: list[ListSource | SourceError] = [
        ListSource(3, live=True),
        gone,
        gone,
        ListSource(9, live=True, fail_at=2, error=SourceError("broken")),
        ListSource(4, live=True, then_hang=True),
    ]
    source = ReconnectingSource(takes(parts), "it", patience=5, on_event=log, back_off=QUICK)
    frames = take(source, 9)
    assert [frame.index for frame in frames] == list(range(9))
    assert [frame.index for frame in frames if frame.after_gap] == [3, 5]
    assert log.words == [
        "source_lost", "source_retry", "source_retry", "source_back", "source_lost", "source_back",
    ]  # fmt: skip
    assert [facts["waited_s"] for event, facts in log if event == "source_retry"] == [0.02, 0.04]
    assert log[0][1]["reason"] == "it ended"
    assert log[4][1]["reason"] == "broken"
    assert source.restarts == 2
    stamps = [frame.pts for frame in frames if frame.pts is not None]
    assert (np.diff(stamps) > 0).all()
    # The clock's own: the camera's first three say 0, 0.1 and 0.2 and come at once.
    assert stamps[0] == 0.0
    assert stamps[2] < 0.05


def test_a_source_that_stalls_is_opened_again() -> None:
    log = Log()
    parts: list[ListSource | SourceError] = [
        ListSource(2, live=True, then_hang=True),
        ListSource(5, live=True, then_hang=True),
    ]
    source = ReconnectingSource(takes(parts), "it", patience=0.3, on_event=log, back_off=QUICK)
    assert len(take(source, 7)) == 7
    assert log[0] == ("source_lost", {"source": "it", "reason": "no frame for 0.3 s", "frames": 2})


def test_a_source_that_is_back_is_not_kept_waiting() -> None:
    start = time.monotonic()
    parts: list[ListSource | SourceError] = [ListSource(1, live=True), ListSource(5, live=True, then_hang=True)]
    source = ReconnectingSource(
        takes(parts), "it", on_event=Log(), back_off=(60.0,), is_reachable=lambda: time.monotonic() > start + 0.5
    )
    assert len(take(source, 6)) == 6
    assert time.monotonic() - start < 30


def test_many_restarts_slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovering, "STORM", (5, 60.0))
    log = Log()
    source = ReconnectingSource(lambda: ListSource(1, live=True), "it", on_event=log, back_off=(0.01, 0.01, 0.4))
    take(source, 8)
    storms = [at for at, (event, _) in enumerate(log) if event == "source_storm"]
    assert len(storms) == 2
    # Five restarts are free; the sixth and seventh wait longest.
    assert log.words[: storms[0]].count("source_back") == 5


def test_another_size_is_told_and_counts_as_a_gap() -> None:
    log = Log()
    parts: list[ListSource | SourceError] = [
        ListSource(2, live=True),
        ListSource(2, live=True, size=(32, 24), then_hang=True),
    ]
    source = ReconnectingSource(takes(parts), "it", on_event=log, back_off=QUICK)
    frames = take(source, 4)
    assert frames[2].image.shape == (32, 24, 3)
    assert ("size_changed", {"source": "it", "before": [16, 16], "now": [32, 24]}) in log


def test_an_address_that_is_wrong_from_the_start_is_an_error_at_once() -> None:
    with pytest.raises(SourceError, match="nobody"):
        ReconnectingSource(takes([SourceError("nobody")]), "it")


def test_it_can_be_interrupted_while_it_waits() -> None:
    parts: list[ListSource | SourceError] = [ListSource(1, live=True), SourceError("gone")]
    source = ReconnectingSource(takes(parts), "it", on_event=Log(), back_off=(60.0,))
    frames = iter(source)
    next(frames)
    import threading

    threading.Timer(0.2, source.interrupt).start()
    begin = time.monotonic()
    assert next(frames, None) is None
    assert time.monotonic() - begin < 20


def test_an_rtsp_address_without_a_server_is_refused_without_its_password() -> None:
    with pytest.raises(SourceError) as error:
        cw.open_source("rtsp://me:secret@127.0.0.1:1/live?token=secret")
    assert "secret" not in str(error.value)
    assert "rtsp://127.0.0.1:1/live" in str(error.value)
