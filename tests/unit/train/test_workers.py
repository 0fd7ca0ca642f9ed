"""Loader workers: a signal to all, and a worker that is killed, end a run in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import get_worker_info

from crwedge.core.errors import SourceError
from crwedge.train.batches import batches
from crwedge.train.clips import FileClips
from crwedge.train.dataset_index import index_dataset
from crwedge.train.state import saved_steps
from crwedge.train.workers import LoaderError
from tests.unit.train.conftest import small

ROOT = Path(__file__).parents[3]
TINY = "nodes=map mode=own stage=res3 head=0 size=32 short_side=48 probe_every=0 picture_every=0 calibrate=0 threads=1"


class WorkerKiller(FileClips):
    """Ends its worker in the middle of a clip, as the kernel does when memory is short."""

    def clip(self, rng: np.random.Generator) -> list[np.ndarray]:
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().clip(rng)


class Unreadable(FileClips):
    """Finds no readable file."""

    def clip(self, rng: np.random.Generator) -> list[np.ndarray]:
        raise SourceError("50 files in a row could not be read; check the data")


def test_a_killed_worker_is_one_line(clips: Path) -> None:
    config = small(videos=str(clips), workers=1)
    source = WorkerKiller(index_dataset(config.data.videos, 24.0), index_dataset([], 24.0), config.data)
    with pytest.raises(LoaderError, match=r"lower data\.workers") as caught:
        next(batches(source, config, start=0))
    assert "\n" not in caught.value.args[0]
    assert not [child for child in active_children() if child.name.startswith("Process")]


def test_an_error_of_a_worker_is_its_own_line(clips: Path) -> None:
    config = small(videos=str(clips), workers=1)
    source = Unreadable(index_dataset(config.data.videos, 24.0), index_dataset([], 24.0), config.data)
    with pytest.raises(SourceError, match=r"^50 files in a row could not be read; check the data$"):
        next(batches(source, config, start=0))


@pytest.mark.slow
def test_a_signal_to_the_whole_group_ends_in_good_order(clips: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [word for text in TINY.split() for word in ("--set", text)]
    command = [sys.executable, "-m", "crwedge", "train", str(clips), "--out", str(run), "--workers", "2", "--steps"]
    command += ["100000", "--clip-length", "2", "--batch", "2", "--set", "log_every=1", *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 600  # only a bound; a busy machine is slow
        while not ((run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        error = process.communicate(timeout=600)[1]
    finally:
        process.kill()
    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert "stopped; --resume goes on" in error.splitlines()[-1]
    assert saved_steps(run)
