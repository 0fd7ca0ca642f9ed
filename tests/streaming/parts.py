"""Sources, sinks and trackers that fail, hang and lag as they are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.labels import LabelMap
from crwedge.runtime.observer import Observer


def threads_left(wait: float = 3.0) -> list[str]:
    """Threads of a stream that are still alive after `wait` seconds."""
    until = time.monotonic() + wait
    while True:
        left = [t.name for t in threading.enumerate() if t.name.startswith(("crwedge-reader", "crwedge-s"))]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


class ListSource:
    """`count` small frames whose pixels tell their number."""

    name = "list"
    fps: float | None = None

    def __init__(
        self,
        count: int,
        live: bool = False,
        every: float = 0.0,
        fail_at: int | None = None,
        error: BaseException | None = None,
        stamps: Sequence[float | None] | None = None,
        gap_at: int | None = None,
        after_last: Callable[[], Any] | None = None,
        then_hang: bool = False,
        size: tuple[int, int] = (16, 16),
    ) -> None:
        self.length: int | None = count
        self.live, self.count, self.every, self.fail_at, self.error = live, count, every, fail_at, error
        self.stamps, self.gap_at, self.after_last, self.then_hang, self.size = (
            stamps,
            gap_at,
            after_last,
            then_hang,
            size,
        )
        self.interrupted, self.closed = False, False

    def __iter__(self) -> Iterator[cw.Frame]:
        for index in range(self.count):
            if index == self.fail_at:
                assert self.error is not None
                raise self.error
            if self.every:
                time.sleep(self.every)
            pts = self.stamps[index] if self.stamps is not None else index / 10
            yield cw.Frame(np.full((*self.size, 3), index % 256, np.uint8), index, pts, after_gap=index == self.gap_at)
        if self.after_last is not None:
            self.after_last()
        while self.then_hang and not (self.interrupted or self.closed):
            time.sleep(0.01)

    def interrupt(self) -> None:
        self.interrupted = True

    def __enter__(self) -> ListSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


class ListSink:
    """Keeps label maps."""

    name = "list"

    def __init__(
        self, slow: float = 0.0, fail_at: int | None = None, error: Exception | None = None, fail_to_close: bool = False
    ) -> None:
        self.slow, self.fail_at, self.error, self.fail_to_close = slow, fail_at, error, fail_to_close
        self.got: list[LabelMap] = []
        self.closed = False

    def write(self, labels: LabelMap) -> None:
        time.sleep(self.slow)
        if labels.index == self.fail_at:
            assert self.error is not None
            raise self.error
        self.got.append(labels)

    def close(self) -> None:
        self.closed = True
        if self.fail_to_close:
            assert self.error is not None
            raise self.error

    def __enter__(self) -> ListSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OnWritten(Observer):
    """Calls a function with each label map that was written."""

    def __init__(self, call: Callable[[LabelMap], Any]) -> None:
        self._call = call

    def written(self, labels: LabelMap) -> None:
        self._call(labels)


class QuickTracker:
    """Labels a frame with nothing, in no time or in as long as it is told."""

    def __init__(
        self,
        slow: float = 0.0,
        fail_at: int | None = None,
        error: BaseException | None = None,
        before_first: Callable[[], Any] | None = None,
    ) -> None:
        self.slow, self.fail_at, self.error, self.before_first = slow, fail_at, error, before_first
        self.stages_ms = {"encode": 0.1, "propagate": 0.1, "output": 0.1}
        self.index = 0
        self.gaps: list[int] = []
        self.prompts: list[int | None] = []
        """First value of each mask that came."""

    def step(self, frame: cw.Frame, mask: np.ndarray | None = None) -> LabelMap:
        self.prompts.append(None if mask is None else int(mask[0, 0]))
        if self.index == 0 and self.before_first is not None:
            self.before_first()
        if self.index == self.fail_at:
            assert self.error is not None
            raise self.error
        time.sleep(self.slow)
        if frame.after_gap:
            self.gaps.append(frame.index)
        self.index += 1
        soft = np.zeros((1, 2, 2), np.float32)
        ids = np.zeros(frame.image.shape[:2], np.uint8)
        return LabelMap(ids, self.index - 1, (), soft, frame.pts, frame.image, frame.index)
