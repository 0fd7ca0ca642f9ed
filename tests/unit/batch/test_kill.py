"""Processes that are killed at random moments: nothing is lost, nothing is done twice, the manifest is always whole.

`CRWEDGE_KILLS=20` kills that many of each kind; by default it is few, so that the suite stays quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.batch.conftest import FRAMES, kills, lines, masks, start_batch, write_clips

VIDEOS = 5


class Reader(threading.Thread):
    """Reads the manifest and looks at the results again and again; keeps the first thing that is wrong."""

    def __init__(self, out: Path, videos: int) -> None:
        super().__init__(daemon=True)
        self.out, self.videos, self.reads = out, videos, 0
        self.wrong: str | None = None
        self.seen: dict[str, tuple[int, int]] = {}
        """Of each video that was done: which file its record is, and when it was written."""
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(0.002):
                self.look()
        except Exception as error:
            self.wrong = repr(error)

    def look(self) -> None:
        if not (self.out / "manifest.jsonl").exists():
            return
        self.reads += 1
        for name, line in lines(self.out).items():
            assert line["state"] in ("waiting", "running", "done"), line
            if line["state"] == "done":
                assert len(list((self.out / name / "masks").iterdir())) == FRAMES
        for record in self.out.glob("v*/result.json"):
            name, status = record.parent.name, record.stat()
            assert json.loads(record.read_text())["name"] == name
            assert len(list((record.parent / "masks").iterdir())) == FRAMES
            again = self.seen.setdefault(name, (status.st_ino, status.st_mtime_ns))
            assert again == (status.st_ino, status.st_mtime_ns), f"{name} was done twice"

    def end(self) -> None:
        self._stop_asked.set()
        self.join()
        assert self.wrong is None, self.wrong
        assert self.reads > 10
        assert len(self.seen) == self.videos


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The videos, and their masks by a run that nobody disturbs."""
    root = tmp_path_factory.mktemp("plain")
    clips = write_clips(root / "clips", VIDEOS)
    process = start_batch(clips, "--out", root / "out")
    process.communicate(timeout=300)
    assert process.returncode == 0
    return clips, masks(root / "out")


def worker_at_work(out: Path, process: subprocess.Popen[str], rng: random.Random) -> int | None:
    """A worker that has just begun a video; None where the batch has ended."""
    while process.poll() is None:
        if parts := sorted(out.glob(".crwedge/parts/*")):
            # The name of the folder ends in the process and a random word: `v0.1234.abcdef`.
            return int(rng.choice(parts).name.split(".")[-2])
        time.sleep(0.005)
    return None


@pytest.mark.slow
def test_workers_that_are_killed(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    clips, expected = plain
    rng, killed, number = random.Random(1), 0, 0
    while killed < kills():
        number += 1
        out = tmp_path / f"out{number}"
        reader = Reader(out, VIDEOS)
        reader.start()
        process = start_batch(clips, "--out", out, "--workers", 2, "--retries", 100)
        while killed < kills() and (pid := worker_at_work(out, process, rng)) is not None:
            # Before its first frame, in the middle, at its last step, or in the next video.
            time.sleep(rng.uniform(0.0, 0.6))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        reader.end()
        assert masks(out) == expected


@pytest.mark.slow
def test_a_batch_that_is_killed_and_started_again(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    """The parent is what writes the manifest, too."""
    clips, expected = plain
    rng, out = random.Random(2), tmp_path / "out"
    reader = Reader(out, VIDEOS)
    reader.start()
    killed = 0
    while killed < kills():
        process = start_batch(clips, "--out", out, "--workers", 2)
        begin = time.monotonic()
        while not any(out.glob(".crwedge/parts/*")) and process.poll() is None and time.monotonic() - begin < 60:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 2.0))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate(timeout=60)
        if len(list(out.glob("v*/result.json"))) == VIDEOS:
            # All is done: what is left to disturb is the start.
            process = start_batch(clips, "--out", out)
            time.sleep(rng.uniform(0.0, 2.0))
            process.kill()
            process.communicate(timeout=60)
            killed += 1
    process = start_batch(clips, "--out", out, "--json")
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert json.loads(told)["done"] == VIDEOS
    reader.end()
    assert {line["state"] for line in lines(out).values()} == {"done"}
    assert masks(out) == expected
    assert not list(out.glob(".crwedge/parts/*"))


WRITER = """
import sys
from pathlib import Path
from crwedge.batch.job import Job
from crwedge.batch.manifest import Manifest
from crwedge.batch.local_results import LocalResults
results = LocalResults(Path(sys.argv[1]))
jobs = [Job(f"v{i}", f"/v{i}.mp4", f"/v{i}.png", "shipped", "0" * 64) for i in range(200)]
with results.hold():
    manifest = Manifest(results, jobs)
    old = max(record.get("frames", 0) for record in manifest.records.values())
    print(old, flush=True)
    for count in range(old + 1, 10**9):
        manifest.set({**jobs[count % 200].to_dict(), "state": "done", "frames": count})
        manifest.flush(now=True)
        print(count, flush=True)
"""


def test_a_writer_of_the_manifest_that_is_killed(tmp_path: Path) -> None:
    """It does nothing but write: every line that it has told of is there, whole, after each kill."""
    rng, script = random.Random(3), tmp_path / "writer.py"
    script.write_text(WRITER)
    out, stop = tmp_path / "out", threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not stop.wait(0.001):
            try:
                if (out / "manifest.jsonl").exists():
                    assert len(lines(out)) == 200
            except Exception as error:
                wrong.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    told = 0
    try:
        for _ in range(kills()):
            process = subprocess.Popen([sys.executable, str(script), str(out)], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert first >= told
            time.sleep(rng.uniform(0.01, 0.5))
            process.kill()
            rest: Any = process.communicate(timeout=60)[0].split()
            told = int(rest[-1]) if rest else first
            assert max(line.get("frames", 0) for line in lines(out).values()) >= told
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    assert told > kills()
