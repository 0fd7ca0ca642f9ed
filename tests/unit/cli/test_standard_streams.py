"""Standard streams that are closed, full, or pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crwedge.core.containers import is_cut_short

COMMAND = f"{sys.executable} -m crwedge models"


@pytest.mark.parametrize(
    ("streams", "code"), [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 2)]
)
def test_closed_and_full_streams(streams: str, code: int) -> None:
    done = subprocess.run(f"{COMMAND} {streams}", shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code:
        assert "No space left on device" in done.stderr


def test_a_pipe_is_not_opened_again_to_see_whether_it_was_cut_short(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_cut_short(tmp_path / "pipe")), daemon=True)
    thread.start()
    thread.join(10)
    assert found == [False]
