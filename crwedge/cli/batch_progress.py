"""Progress of a batch: of the whole and of each video that is being followed."""

from __future__ import annotations

import time
from types import TracebackType

from crwedge.batch.events import Advanced, Event, Finished, Released, Started
from crwedge.cli.progress import Bars
from crwedge.runtime.frame_queue import StopToken

_WHOLE = "(all videos)"
_PLAIN_S = 30.0
"""Seconds between two lines on the whole where no video has ended."""


class BatchProgress:
    """A bar of the whole and one for each video on a terminal; elsewhere a plain line for each video that ends.

    Args:
        total: number of videos.
        stop: once it is set, one line says that the videos that are begun are still finished.
    """

    def __init__(self, total: int, stop: StopToken) -> None:
        self._total, self._stop = total, stop
        self._done = self._failed = self._frames = 0
        self._running: dict[str, int] = {}
        self._begin = self._last = time.monotonic()
        self._bars = Bars()
        self._told_stop = False

    def __enter__(self) -> BatchProgress:
        """Show the bars."""
        self._bars.open()
        self._bars.update(_WHOLE, 0, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar of the whole as it stands."""
        self._bars.close()

    def plan(self, todo: int, done: int) -> None:
        """Some videos are done already."""
        self._done = done
        self._say(f"videos to track: {todo}; done before: {done}")
        self._show_whole()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Started):
            self._running[event.name] = 0
            if event.attempt > 1:
                self._say(f"{event.name}: its worker died; attempt {event.attempt}")
            self._bars.update(event.name, 0, None)
        elif isinstance(event, Advanced):
            # The last news of a video may come after its end.
            if event.name in self._running:
                self._running[event.name] = event.frames
                self._bars.update(event.name, event.frames, event.total)
        elif isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Released):
            self._forget(event.name)
        if self._stop.is_set() and not self._told_stop:
            self._told_stop = True
            self._say(f"stopping: {len(self._running)} videos are still finished; once more ends at once")
        if not self._bars.shown and time.monotonic() - self._last >= _PLAIN_S:
            running = ", ".join(f"{name} at frame {frames}" for name, frames in self._running.items())
            self._say(f"{self._done} of {self._total} videos done, {self._failed} failed; {running}")

    def _finish(self, event: Finished) -> None:
        record = event.record
        self._forget(record["name"])
        if record["state"] == "failed":
            self._failed += 1
            told = record["error"]
        else:
            self._done += 1
            self._frames += record["frames"]
            told = f"{record['frames']} frames at {record['fps']:.1f} a second"
        self._say(f"{self._done + self._failed}/{self._total} {record['name']}: {record['state']}, {told}")
        self._show_whole()

    def _forget(self, name: str) -> None:
        self._running.pop(name, None)
        self._bars.remove(name)

    def _show_whole(self) -> None:
        rate = self._frames / max(time.monotonic() - self._begin, 1e-9)
        note = f"{rate:.1f} frames a second{f', {self._failed} failed' if self._failed else ''}"
        self._bars.update(_WHOLE, self._done + self._failed, self._total, note)

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        self._bars.say(text)
