"""A live source that is monitored and reopened with growing pauses; every event is reported."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from crwedge.core.errors import SourceError
from crwedge.runtime.closing import Closing
from crwedge.runtime.events import silent
from crwedge.runtime.frame_queue import FrameQueue, StopToken
from crwedge.runtime.sources.frame import Frame, FrameSource

BACK_OFF = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each attempt to open the source again; the last one repeats."""
STORM = (5, 60.0)
"""After this many restarts in this many seconds the longest pause is used."""
SETTLED = 10.0
"""Seconds of frames after which the pauses start from the shortest again."""
_ASK_EVERY = 0.1

Connect = Callable[[], FrameSource]
OnEvent = Callable[..., None]


class ReconnectingSource(Closing):
    """The frames of a live source, over all its failures, numbered and stamped as one stream.

    A thread reads each connection. When no frame comes for `patience` seconds, or the connection ends, it is left behind
    and opened again. Frames are stamped by the clock, from the first frame on, over every gap; the first frame after one
    says so.

    Args:
        connect: opens the source; SourceError when it is not there.
        name: what events call it, without credentials.
        patience: seconds without a frame that count as a failure.
        on_event: called with each event: its name and its facts.
        is_reachable: a cheap question whether the source is there. While a pause runs it is asked several times a second, and a
            source that was away and is back ends the pause.
        back_off: the pauses in seconds.
    """

    live = True
    length: int | None = None

    def __init__(
        self,
        connect: Connect,
        name: str,
        patience: float = 5.0,
        on_event: OnEvent | None = None,
        is_reachable: Callable[[], bool] | None = None,
        back_off: tuple[float, ...] = BACK_OFF,
    ) -> None:
        """Open it a first time; what is wrong with the address is an error at once, not a reason to wait."""
        self.name, self.patience = name, patience
        self.restarts = 0
        """How often it was opened again with success."""
        self._connect, self._on_event, self._is_reachable, self._back_off = (
            connect,
            silent if on_event is None else on_event,
            is_reachable,
            back_off,
        )
        self._halt = StopToken()
        self._recent: deque[float] = deque(maxlen=STORM[0])
        self._first: FrameSource | None = connect()
        self.fps = self._first.fps

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until `interrupt` or `close`."""
        index, size, attempt = 0, None, 0
        began_all: float | None = None
        last_came = time.monotonic()
        connection: FrameSource | None = self._first
        self._first = None
        while not self._halt.is_set():
            if connection is None:
                attempt += 1
                connection = self._open_again(attempt)
                if connection is None:
                    continue
            session = _Session(connection, self._halt)
            connection, came = None, 0
            began = time.monotonic()
            why = "it ended"
            try:
                while (taken := session.next(self.patience)) is not None:
                    frame, came_at = taken
                    now = time.monotonic()
                    began_all = came_at if began_all is None else began_all
                    gap = came == 0 and index > 0
                    if gap:
                        self.restarts += 1
                        self._recent.append(now)
                        self._on_event(
                            "source_back", source=self.name, gap_s=round(now - last_came, 3), attempts=attempt
                        )
                    if size is not None and frame.image.shape != size:
                        self._on_event(
                            "size_changed", source=self.name, before=list(size[:2]), now=list(frame.image.shape[:2])
                        )
                        gap = True
                    if now - began > SETTLED:
                        attempt = 0
                    size, last_came, came = frame.image.shape, now, came + 1
                    pts, wall = round(came_at - began_all, 6), time.time() - (now - came_at)
                    yield replace(frame, index=index, pts=pts, time=wall, after_gap=gap or frame.after_gap)
                    index += 1
            except TimeoutError:
                why = f"no frame for {self.patience:g} s"
            except SourceError as error:
                why = str(error)
            finally:
                session.leave()
            if not self._halt.is_set():
                self._on_event("source_lost", source=self.name, reason=why, frames=index)

    def interrupt(self) -> None:
        """End the iteration soon, from another thread."""
        self._halt.set()

    def close(self) -> None:
        """Close the device or connection."""
        self._halt.set()
        if self._first is not None:
            self._first.close()
            self._first = None

    def _open_again(self, attempt: int) -> FrameSource | None:
        """Wait as long as it is this attempt's turn to, then try once."""
        pause = self._back_off[min(attempt, len(self._back_off)) - 1]
        now = time.monotonic()
        storm = len(self._recent) == STORM[0] and now - self._recent[0] < STORM[1]
        if storm:
            pause = max(self._back_off)
            self._on_event("source_storm", source=self.name, restarts=STORM[0], within_s=STORM[1], wait_s=pause)
        self._wait(now + pause, None if storm else self._is_reachable)
        if self._halt.is_set():
            return None
        try:
            return self._connect()
        except SourceError as error:
            self._on_event("source_retry", source=self.name, attempt=attempt, waited_s=pause, reason=str(error))
            return None

    def _wait(self, until: float, is_reachable: Callable[[], bool] | None) -> None:
        was_away = False
        while not self._halt.is_set() and (left := until - time.monotonic()) > 0:
            if is_reachable is not None:
                there = is_reachable()
                if there and was_away:
                    return
                was_away = was_away or not there
            time.sleep(min(_ASK_EVERY, left))


class _Session:
    """One connection, read by a thread that can be left behind when it hangs."""

    def __init__(self, source: FrameSource, halt: StopToken) -> None:
        self._source, self._outer = source, halt
        self._halt = StopToken()
        self._box: FrameQueue[tuple[Frame, float]] = FrameQueue(2, self._halt)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="crwedge-source", daemon=True)
        self._thread.start()

    def next(self, patience: float) -> tuple[Frame, float] | None:
        """The next frame and when it came; None at the end. TimeoutError after `patience` seconds without one."""
        until = time.monotonic() + patience
        while not self._outer.is_set():
            try:
                frame = self._box.get(timeout=min(0.1, patience))
            except TimeoutError:
                if time.monotonic() >= until:
                    raise
                continue
            if frame is None and self._error is not None:
                raise self._error
            return frame
        return None

    def leave(self) -> None:
        """Ask the thread to end; it does at its next frame, or when its own read gives up."""
        self._halt.set()
        self._box.close()
        self._source.close()
        self._thread.join(0.5)

    def _read(self) -> None:
        try:
            with self._source:
                for frame in self._source:
                    if not self._box.put((frame, time.monotonic())):
                        break
        except Exception as error:
            self._error = error
        finally:
            self._box.close()
