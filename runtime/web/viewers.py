"""Live pictures for any number of viewers, none of whom can slow the tracker or another viewer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("crwedge")

Encode = Callable[[], bytes]

MOST_VIEWERS = 64


class Viewer:
    """One open page. It holds the newest message only; messages that it did not fetch in time are dropped and counted.

    All methods belong to the thread of the event loop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.dropped = 0
        self._message: bytes | None = None
        self._ready = asyncio.Event()

    def put(self, message: bytes) -> bool:
        """Take the place of a message that was not fetched; returns whether there was one."""
        late = self._message is not None
        self.dropped += late
        self._message = message
        self._ready.set()
        return late

    async def get(self) -> bytes:
        """The newest message; waits for one."""
        await self._ready.wait()
        self._ready.clear()
        message, self._message = self._message, None
        assert message is not None
        return message


class Viewers:
    """Encodes the newest picture once, in a thread of its own, for all viewers; nothing is encoded where there are none.

    Args:
        rate: pictures a second at most.
    """

    def __init__(self, rate: float = 12.0) -> None:
        self.dropped = 0
        """Messages that viewers did not fetch in time."""
        self._rate = rate
        self._viewers: list[Viewer] = []
        self._changed = threading.Condition()
        self._newest: Encode | None = None
        self._last: Encode | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="crwedge-viewers", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._viewers)

    def offer(self, encode: Encode) -> None:
        """Show a picture, from any thread; returns at once.

        Args:
            encode: makes the message, in the thread of the viewers, if it is still the newest then.
        """
        with self._changed:
            self._newest = self._last = encode
            if self._viewers:
                self._changed.notify()

    def join(self) -> Viewer | None:
        """Add a viewer, who gets the last picture at once; None where there are too many."""
        viewer = Viewer()
        with self._changed:
            if len(self._viewers) >= MOST_VIEWERS or self._closed:
                return None
            self._viewers.append(viewer)
            self._newest = self._last
            self._changed.notify()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._changed:
            self._viewers.remove(viewer)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (self._newest is None or not self._viewers):
                    self._changed.wait()
                if self._closed:
                    return
                encode, self._newest = self._newest, None
                viewers = list(self._viewers)
            begin = time.monotonic()
            try:
                assert encode is not None
                message = encode()
            except Exception:
                _log.exception("a live picture could not be encoded")
                continue
            for viewer in viewers:
                try:
                    viewer.loop.call_soon_threadsafe(self._hand_over, viewer, message)
                except RuntimeError:
                    # The event loop has ended.
                    return
            time.sleep(max(0.0, 1 / self._rate - (time.monotonic() - begin)))

    def _hand_over(self, viewer: Viewer, message: bytes) -> None:
        self.dropped += viewer.put(message)
