"""Progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from crwedge.runtime.observer import Observer

if TYPE_CHECKING:
    from crwedge.core.labels import LabelMap
    from crwedge.runtime.session import Session


class Bars:
    """Bars on stderr, where that is a terminal; otherwise `shown` is False and nothing is drawn.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    @property
    def shown(self) -> bool:
        """Whether there are bars."""
        return self._bars is not None

    def open(self) -> None:
        """Show them."""
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True, soft_wrap=True)
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
        self._bars.start()

    def close(self) -> None:
        """Leave them as they stand."""
        if self._bars is not None:
            self._bars.stop()

    def update(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Set a bar, which is added the first time."""
        if self._bars is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=done, total=total, note=note)

    def remove(self, name: str) -> None:
        """Take a bar away, where it is there."""
        if (task := self._tasks.pop(name, None)) is not None:
            self._bars.remove_task(task)

    def say(self, text: str) -> None:
        """Print a line above the bars, or on stderr."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(text, file=sys.stderr, flush=True)


class Progress:
    """Counts steps of work on stderr.

    Args:
        what: what is counted, such as "frames".
        total: how many there will be, where known.
        quiet: show nothing.
    """

    def __init__(self, what: str, total: int | None, quiet: bool = False) -> None:
        self.what, self.total = what, total
        self._bars = Bars(quiet)
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        """Show the bar."""
        self._bars.open()
        self._bars.update(self.what, 0, self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self._bars.close()

    def update(self, done: int, note: str = "") -> None:
        """`done` steps are done; `note` says more."""
        self._bars.update(self.what, done, self.total, note)
        if not self._bars.shown and time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            self._bars.say(f"{self.what}: {done}{of} {note}")


class FrameProgress(Progress, Observer):
    """Counts the written frames of a session."""

    def __init__(self, session: Session) -> None:
        super().__init__("frames", None)
        self._session = session

    def __enter__(self) -> FrameProgress:
        """Show the bar."""
        super().__enter__()
        return self

    def written(self, labels: LabelMap) -> None:
        """Count a frame."""
        self.total = self._session.length
        self.update(self._session.stats.tracked, f"{self._session.stats.recent.rate():.1f} a second")
