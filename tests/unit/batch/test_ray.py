"""Batches on a local Ray of two workers."""

from __future__ import annotations

import json
import os
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from crwedge.cli import run
from tests.unit.batch.conftest import lines, masks, start_batch, write_clips

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra cluster)"),
]
VIDEOS = 4


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The videos, and their masks by a plain run."""
    root = tmp_path_factory.mktemp("plain")
    clips = write_clips(root / "clips", VIDEOS, frames=24)
    assert run(["batch", str(clips), "--out", str(root / "out")]) == 0
    return clips, masks(root / "out")


class Watch(threading.Thread):
    """Kills the first process that is in the middle of a video, and looks at the environment of Ray's processes."""

    def __init__(self, out: Path, home: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.home, self.killed = out, home, ""
        self.environments: dict[str, dict[str, str]] = {}
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.005):
            for part in self.out.glob(".crwedge/parts/*") if not self.killed else ():
                if 2 <= len(list(part.glob("new/masks/*.png"))) <= 20:
                    self.environments = environments(self.home)
                    # The name of the folder ends in the process and a random word: `v0.1234.abcdef`.
                    os.kill(int(part.name.split(".")[-2]), signal.SIGKILL)
                    self.killed = part.name

    def end(self) -> None:
        self._end.set()
        self.join()


def environments(home: Path) -> dict[str, dict[str, str]]:
    """The environments of the processes that have this HOME, by their programs."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            pairs = (process / "environ").read_bytes().decode(errors="replace").split("\0")
            table = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            if table.get("HOME") == str(home):
                found[(process / "cmdline").read_bytes().split(b"\0")[0].decode().rsplit("/", 1)[-1]] = table
        except OSError:
            continue
    return found


def test_a_worker_that_is_killed_in_the_middle_of_a_video(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, expected = plain
    out, home = tmp_path / "out", tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    watch = Watch(out, home)
    watch.start()
    process = start_batch(clips, "--out", out, "--ray", "local", "--workers", 2, "--json")
    told, said = process.communicate(timeout=400)
    watch.end()
    assert process.returncode == 0, said
    assert watch.killed
    summary = json.loads(told.splitlines()[-1])
    assert (summary["done"], summary["failed"]) == (VIDEOS, 0)
    assert {line["state"] for line in lines(out).values()} == {"done"}
    assert masks(out) == expected
    # Ray was told to send nothing, has left nothing in the home, and all of it has ended.
    assert {"raylet", "gcs_server"} <= set(watch.environments)
    assert {table.get("RAY_USAGE_STATS_ENABLED") for table in watch.environments.values()} == {"0"}
    assert list(home.iterdir()) == []
    assert environments(home) == {}
    # A plain batch finds everything done.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert run(["batch", str(clips), "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")} == before


def test_more_than_the_cluster_has_is_refused(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    clips, _ = plain
    process = start_batch(clips, "--out", tmp_path / "out", "--ray", "local", "--gpus", "7")
    _, said = process.communicate(timeout=400)
    assert process.returncode == 2
    assert "asks for 7 GPU" in said.splitlines()[-1]
    assert {line["state"] for line in lines(tmp_path / "out").values()} == {"waiting"}


def test_no_cluster_at_the_address(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    clips, _ = plain
    process = start_batch(clips, "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    _, said = process.communicate(timeout=400)
    assert process.returncode == 2, said
    assert said.splitlines()[-1].startswith("crwedge: --ray 127.0.0.1:1")
