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


class Progress:
    """Counts steps of work on stderr.

    Args:
        what: what is counted, such as "frames".
        total: how many there will be, where known.
        quiet: show nothing.
    """

    def __init__(self, what: str, total: int | None, quiet: bool = False) -> None:
        self.what, self.total, self.quiet = what, total, quiet
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        """Show the bar."""
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True, soft_wrap=True))
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """`done` steps are done; `note` says more."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self.total, note=note)
        elif not self.quiet and time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            sys.stderr.write(f"{self.what}: {done}{of} {note}\n")
            sys.stderr.flush()


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
