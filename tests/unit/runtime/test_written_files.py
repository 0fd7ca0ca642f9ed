"""Outputs of a session that would replace one another, or what is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.errors import SinkError
from crwedge.core.tensors import write_tensors
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.sinks.open import open_sink
from crwedge.runtime.written_files import check_written


def check(folder: Path, outputs: list[str], **options: str) -> None:
    given = SessionOptions()
    for name in options.keys() - {"log"}:
        given = replace(given, **{name: folder / options[name]})  # type: ignore[arg-type]
    log = folder / options["log"] if "log" in options else None
    places = [place if "://" in place or place == "-" else str(folder / place) for place in outputs]
    check_written(given, places, folder / "film.mp4", folder / "mask.png", log)


@pytest.mark.parametrize(
    ("outputs", "options"),
    [
        (["a.jsonl", "a.jsonl"], {}),
        (["a.mp4", "x/../a.mp4"], {}),
        (["a", "./a/"], {}),
        (["-", "-"], {}),
        (["mqtt://host/a", "mqtt://host/a"], {}),
        (["a.zip?format=yolo", "a.zip?format=cvat"], {}),
        (["a.jsonl"], {"snapshot": "a.jsonl"}),
        (["a.jsonl"], {"log": "a.jsonl"}),
        ([], {"snapshot": "a", "save_target": "a"}),
    ],
)
def test_two_outputs_of_one_place_are_refused(tmp_path: Path, outputs: list[str], options: dict[str, str]) -> None:
    with pytest.raises(SinkError, match="the same place"):
        check(tmp_path, outputs, **options)


@pytest.mark.parametrize("kind", ["snapshot", "save_target", "log"])
@pytest.mark.parametrize("name", ["mask.png", "film.mp4"])
def test_what_is_read_is_not_replaced(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(SinkError, match=f"would replace .*{name}"):
        check(tmp_path, ["masks"], **{kind: name})


def test_a_link_to_an_input_counts_as_the_input(tmp_path: Path) -> None:
    (tmp_path / "mask.png").touch()
    (tmp_path / "state").symlink_to(tmp_path / "mask.png")
    with pytest.raises(SinkError, match="would replace --mask"):
        check(tmp_path, [], snapshot="state")


def test_different_places_pass(tmp_path: Path) -> None:
    check(tmp_path, ["masks", "a.mp4", "a.jsonl", "-", "mqtt://host/a"], snapshot="run.snap", log="run.log")


def test_a_state_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"--snapshot .*folder is a folder"):
        check(tmp_path, [], snapshot="folder")
    with pytest.raises(SinkError, match="not a writable folder"):
        check(tmp_path, [], snapshot="file/state")


def test_a_snapshot_replaces_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_tensors(tmp_path / "weights", {"a": np.zeros(3, np.float32)}, {"format": "mine"})
    write_tensors(tmp_path / "of-before", {"a": np.zeros(3, np.float32)}, {"format": "crwedge-snapshot-1"})
    for name in ("notes.txt", "weights"):
        with pytest.raises(SinkError, match=f"--snapshot .*{name} exists and is not a snapshot.*--overwrite"):
            check(tmp_path, [], snapshot=name)
        check_written(SessionOptions(snapshot=tmp_path / name, overwrite=True), [], None, None)
    for name in ("of-before", "new"):
        check(tmp_path, [], snapshot=name)


@pytest.mark.parametrize("kind", ["snapshot", "save_target"])
def test_a_pipe_or_a_device_is_no_state_file(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", os.devnull):
        with pytest.raises(SinkError, match="is not a regular file"):
            check(tmp_path, [], **{kind: name})


def test_an_output_of_an_unknown_kind_of_address_is_no_folder() -> None:
    with pytest.raises(SinkError, match="no output of kind rtsp://"):
        open_sink("rtsp://127.0.0.1/x")
