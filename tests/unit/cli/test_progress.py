"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from crwedge.batch.events import Advanced, Finished, Started
from crwedge.cli.batch_progress import BatchProgress
from crwedge.cli.progress import Progress
from crwedge.runtime.frame_queue import StopToken


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _batch(stop: StopToken) -> None:
    with BatchProgress(2, stop) as progress:
        progress.plan(2, 0)
        progress(Started("a"))
        progress(Started("b"))
        progress(Advanced("a", 3, 6))
        progress(Finished({"name": "a", "state": "done", "frames": 6, "fps": 2.0}))
        # The last news of a video may come after its end.
        progress(Advanced("a", 6, 6))
        progress(Finished({"name": "b", "state": "failed", "error": "cannot [open] it"}))


def test_a_batch_shows_a_bar_of_the_whole_and_of_each_video(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _batch(StopToken())
    text = terminal.getvalue()
    for part in (
        "videos to track: 2",
        "(all videos)",
        "2/2",
        "1/2 a: done, 6 frames at 2.0 a second",
        "cannot [open] it",
    ):
        assert part in text


def test_a_batch_writes_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _batch(StopToken())
    assert capsys.readouterr().err.splitlines() == [
        "videos to track: 2; done before: 0",
        "1/2 a: done, 6 frames at 2.0 a second",
        "2/2 b: failed, cannot [open] it",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_work_is_counted(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("frames", 4, quiet) as progress:
        progress.update(3, "slowly")
    text = terminal.getvalue()
    assert ("frames" in text, "3/4" in text, "slowly" in text) == 3 * (not quiet,)
