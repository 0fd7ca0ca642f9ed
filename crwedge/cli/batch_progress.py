"""Progress of a batch: of the whole and of each video that is being followed."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from crwedge.batch.events import Advanced, Event, Finished, Released, Started
from crwedge.runtime.frame_queue import StopToken

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
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._told_stop = False

    def __enter__(self) -> BatchProgress:
        """Show the bars."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._bar.start()
            self._tasks[""] = self._bar.add_task("videos", total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar of the whole as it stands."""
        if self._bar is not None:
            self._bar.stop()

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
            elif self._bar is not None:
                self._tasks[event.name] = self._bar.add_task(event.name, total=None, note="")
        elif isinstance(event, Advanced):
            self._running[event.name] = event.frames
            if (task := self._tasks.get(event.name)) is not None:
                self._bar.update(task, completed=event.frames, total=event.total)
        elif isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Released):
            self._forget(event.name)
        if self._stop.is_set() and not self._told_stop:
            self._told_stop = True
            self._say(f"stopping: {len(self._running)} videos are still finished; once more ends at once")
        if self._bar is None and time.monotonic() - self._last >= _PLAIN_S:
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
        if (task := self._tasks.pop(name, None)) is not None:
            self._bar.remove_task(task)

    def _show_whole(self) -> None:
        if self._bar is not None:
            rate = self._frames / max(time.monotonic() - self._begin, 1e-9)
            note = f"{rate:.1f} frames a second{f', {self._failed} failed' if self._failed else ''}"
            self._bar.update(self._tasks[""], completed=self._done + self._failed, note=note)

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)
