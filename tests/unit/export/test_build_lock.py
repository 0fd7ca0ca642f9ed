"""One process at a time builds an engine."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from crwedge.core.errors import BundleError
from crwedge.export.build_lock import build_lock


def _hold(folder: Path, log: Path) -> None:
    (folder / "started").touch()
    with build_lock(folder, "x") as waited, open(log, "a") as file:
        file.write(f"waited {waited}\n")


def _die(folder: Path) -> None:
    with build_lock(folder, "x"):
        os._exit(1)


def test_the_second_process_waits(tmp_path: Path, said: list[str]) -> None:
    log = tmp_path / "log"
    with build_lock(tmp_path, "x") as waited:
        assert not waited
        other = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path, log))
        other.start()
        # A busy machine takes many seconds to start a process.
        while other.is_alive() and not (tmp_path / "started").exists():
            other.join(0.05)
        other.join(2)
        assert other.is_alive()
        assert not log.exists()
    other.join()
    assert log.read_text() == "waited True\n"
    assert said == []


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path,))
    other.start()
    other.join()
    assert other.exitcode == 1
    with build_lock(tmp_path, "x") as waited:
        assert not waited


def test_engines_of_other_names_do_not_wait(tmp_path: Path) -> None:
    with build_lock(tmp_path, "x"), build_lock(tmp_path, "y") as waited:
        assert not waited


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), build_lock(tmp_path, "x"):
        raise RuntimeError
    with build_lock(tmp_path, "x") as waited:
        assert not waited


def test_a_folder_that_cannot_be_written_is_one_clear_error() -> None:
    with pytest.raises(BundleError, match="cannot write"), build_lock(Path("/proc/engines"), "x"):
        pass
