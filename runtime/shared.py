"""One engine for several streams in one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.engine import Batching, Engine
from crwedge.runtime.processors import alone
from crwedge.runtime.propagation.attention import cpu_count

MOST_IN_A_BATCH = 4
"""Frames that are encoded together; each takes the memory of its activations."""


def divided(streams: int, threads: int | None = None) -> tuple[int, int]:
    """How so many streams share an engine: threads of one frame, and frames side by side.

    Two frames side by side with one thread each take less than the same two with two threads each, one after the other:
    threads of one frame wait for each other between layers.

    Args:
        streams: how many, at least one.
        threads: in all; by default every processor this process may use.
    """
    threads = threads or cpu_count()
    each = max(1, threads // streams)
    return each, max(1, threads // each)


class SharedEngine:
    """Streams encode side by side where the engine can, and those that wait at the same moment as one batch.

    A stream never waits for others to come: a batch is what has gathered while the engine was busy. The weights are held
    once for each engine. What a stream gets is what it would get alone, to the bit. Closing it does nothing: the engines
    belong to whoever opened them.
    """

    def __init__(self, engine: Engine, most: int | None = None, whole: Engine | None = None) -> None:
        """Engines stay open when the streams end.

        Args:
            engine: encodes with a part of the threads.
            most: frames that it encodes side by side at most, where it takes as many.
            whole: the same encoder with all threads, for a stream that finds no other at work; None where there is no such
                difference.
        """
        self._engine, self.name = engine, engine.name
        self._most, self._whole = most, whole
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._running = 0

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`; any thread may call."""
        # Whoever comes while this one frame is encoded does not wait for it: for so long there are more threads than asked for.
        if self._whole is not None and alone():
            return self._whole.run(frame)
        mine = _Request(frame)
        with self._changed:
            self._waiting.append(mine)
            self._changed.wait_for(lambda: mine.taken or mine in self._next())
            batch = [] if mine.taken else self._next()
            self._waiting = [request for request in self._waiting if request not in batch]
            for request in batch:
                request.taken = True
            self._running += bool(batch)
        if batch:
            # The first to see that its turn has come encodes for all that go with it.
            self._encode(batch)
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
        with self._changed:
            self._changed.wait_for(lambda: mine.features is not None or mine.error is not None)
        if mine.error is not None:
            raise mine.error
        assert mine.features is not None
        return mine.features

    def close(self) -> None:
        """Nothing: other streams still run."""

    def _next(self) -> list[_Request]:
        """What is encoded next: the frame that has waited longest and those of its size; nothing while all is busy."""
        most = self._engine.at_once if isinstance(self._engine, Batching) else 1
        if self._running >= (most if self._most is None else min(most, self._most)):
            return []
        size = self._waiting[0].frame.shape
        return [request for request in self._waiting if request.frame.shape == size][:MOST_IN_A_BATCH]

    def _encode(self, batch: Sequence[_Request]) -> None:
        frames = [request.frame for request in batch]
        try:
            if len(frames) > 1 and isinstance(self._engine, Batching):
                found = self._engine.run_many(frames)
            else:
                found = [self._engine.run(frame) for frame in frames]
        except BaseException as error:
            for request in batch:
                request.error = error
            return
        for request, features in zip(batch, found, strict=True):
            request.features = features


class _Request:
    """A frame of one stream, and what came of it."""

    def __init__(self, frame: NDArray[np.uint8]) -> None:
        self.frame, self.taken = frame, False
        self.features: NDArray[np.float32] | None = None
        self.error: BaseException | None = None
