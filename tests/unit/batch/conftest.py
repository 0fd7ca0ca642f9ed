"""Short rendered videos with their masks, and batches of them in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from crwedge.batch.events import Event, Finished, Started
from crwedge.batch.job import Job
from crwedge.batch.machine import Machine
from crwedge.batch.results import Results
from crwedge.batch.runner import Runner
from crwedge.core.masks import write_mask
from crwedge.core.scene import render_scene
from crwedge.runtime.frame_queue import StopToken
from tests.unit.conftest import write_video

FRAMES = 6


def write_clips(folder: Path, count: int, frames: int = FRAMES) -> Path:
    """`v0.mp4` with its mask `v0.png`, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene = render_scene(frames, 64, 96, seed=number)
        write_video(folder / f"v{number}.mp4", scene.frames)
        write_mask(folder / f"v{number}.png", scene.masks[0])
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three videos with their masks."""
    return write_clips(tmp_path / "clips", 3)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))


class InProcessPool:
    """Follows the videos in this process, which has its engine already; for tests of everything but processes."""

    def __init__(self, results: Results, machine: Machine, retries: int = 0) -> None:
        self._runner = Runner(results, 1)

    def run(self, jobs: Sequence[Job], stop: StopToken) -> Iterator[Event]:
        for job in jobs:
            yield Started(job.name)
            yield Finished(self._runner.run(job))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes."""
    monkeypatch.setattr("crwedge.batch.pool.LocalPool", InProcessPool)


def start_batch(*arguments: object) -> subprocess.Popen[str]:
    """`crwedge batch` in a process of its own."""
    command = [sys.executable, "-m", "crwedge", "batch", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest by name; every name once."""
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    by_name = {line["name"]: line for line in found}
    assert len(by_name) == len(found)
    return by_name


def masks(out: Path) -> dict[str, bytes]:
    """Every file of masks below a folder, by its path."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def kills() -> int:
    """How often a process is killed: `CRWEDGE_KILLS`, by default few enough for every day."""
    return int(os.environ.get("CRWEDGE_KILLS", "3"))
