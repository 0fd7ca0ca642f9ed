"""`crwedge track --control` as a process, on a rendered video: what it gives is what the API gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.masks import write_mask
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.unit.conftest import write_video

COUNT = 40
CONTEXT = 3


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip.mp4; first.png shows object 1 alone, all.png all objects of frame 12, fix.png where object 1 is in frame 20."""
    folder = tmp_path_factory.mktemp("film")
    scene = render_scene(COUNT, 48, 64)
    write_video(folder / "clip.mp4", scene.frames)
    assert set(np.unique(scene.masks[0])) >= {0, 1, 2}
    for name, index, ids in (("first", 0, (1,)), ("all", 12, (1, 2)), ("fix", 20, (1,))):
        write_mask(folder / f"{name}.png", np.where(np.isin(scene.masks[index], ids), scene.masks[index], 0))
    return folder


def start(film: Path, *more: object) -> subprocess.Popen[str]:
    words = ["track", film / "clip.mp4", "--model", shipped_bundle(), "--set", "threads=1"]
    if "--init" not in more:
        words += ["--mask", film / "first.png"]
    return subprocess.Popen(
        [sys.executable, "-m", "crwedge", *map(str, (*words, "--set", f"context-length={CONTEXT}", "--json", *more))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )


def events_of(said: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def with_commands(film: Path, path: Path) -> Path:
    """Object 2 comes at frame 12, 1 is corrected at 20 and goes at 28."""
    commands: list[dict[str, object]] = [
        {"index": 12, "mask": str(film / "all.png")},
        {"index": 20, "mask": str(film / "fix.png")},
        {"index": 28, "remove": [1]},
    ]
    path.write_text("".join(json.dumps(command) + "\n" for command in commands))
    return path


def by_the_api(film: Path) -> list[np.ndarray]:
    found = []
    settings = cw.preset("edge").with_changes(context_length=CONTEXT)
    with (
        cw.Tracker.open(shipped_bundle(), settings=settings, workers=1) as tracker,
        cw.open_source(film / "clip.mp4") as source,
    ):
        masks = {0: "first.png", 12: "all.png", 20: "fix.png"}
        for frame in source:
            if frame.index == 28:
                tracker.remove(1)
            mask = cw.read_mask(film / masks[frame.index]) if frame.index in masks else None
            found.append(tracker.step(frame, mask).ids)
    return found


@pytest.mark.slow
def test_add_correct_and_remove_equal_the_api(film: Path, tmp_path: Path) -> None:
    control = with_commands(film, tmp_path / "c.jsonl")
    process = start(film, "--out", tmp_path / "m", "--out", tmp_path / "o.jsonl", "--set", f"control={control}")
    shown, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert json.loads(shown)["tracked"] == COUNT
    expected = by_the_api(film)
    for index, ids in enumerate(expected):
        np.testing.assert_array_equal(cw.read_mask(tmp_path / "m" / f"{index:05d}.png"), ids)
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    followed = [sorted(map(int, line["states"])) for line in lines]
    assert followed == [[1]] * 12 + [[1, 2]] * 16 + [[2]] * 12
    assert [(e["event"], e["index"]) for e in events_of(said)] == [("control_done", i) for i in (12, 20, 28)]


@pytest.mark.slow
def test_killed_and_resumed_neither_loses_nor_repeats_a_command(film: Path, tmp_path: Path) -> None:
    control = with_commands(film, tmp_path / "c.jsonl")
    arguments = ("--out", tmp_path / "m", "--set", f"control={control}", "--snapshot", tmp_path / "s", "--resume")
    for frame in ("00014.png", "00023.png"):
        process = start(film, *arguments, "--set", "snapshot-every=0")
        until = time.monotonic() + 300
        while not (tmp_path / "m" / frame).exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(film, *arguments)
    _, said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    assert "control_refused" not in said
    for index, ids in enumerate(by_the_api(film)):
        np.testing.assert_array_equal(cw.read_mask(tmp_path / "m" / f"{index:05d}.png"), ids)


@pytest.mark.slow
def test_commands_added_while_it_runs(film: Path, tmp_path: Path) -> None:
    control, out = tmp_path / "c.jsonl", tmp_path / "o.jsonl"
    control.write_text('{"remove": [1]}\n')  # of yesterday
    process = start(film, "--out", out, "--set", f"control={control}")
    until = time.monotonic() + 300
    while (not out.exists() or not out.read_text().count("\n")) and time.monotonic() < until:
        time.sleep(0.005)
    with control.open("a") as file:
        file.write("nonsense\n" + json.dumps({"mask": str(film / "all.png")}) + "\n")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    refused, done = events_of(said)
    assert (refused["event"], refused["command"]) == ("control_refused", "nonsense")
    assert done["event"] == "control_done"
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    followed = [sorted(map(int, line["states"])) for line in lines]
    at = done["index"]
    assert isinstance(at, int)
    assert 0 < at < COUNT
    assert followed == [[1]] * at + [[1, 2]] * (COUNT - at)


@pytest.mark.slow
def test_joints_can_go_and_take_no_mask(film: Path, tmp_path: Path) -> None:
    (tmp_path / "j.json").write_text('{"a": [20, 20], "b": [40, 30]}')
    commands: list[dict[str, object]] = [{"index": 3, "mask": str(film / "all.png")}, {"index": 5, "remove": [1]}]
    control = tmp_path / "c.jsonl"
    control.write_text("".join(json.dumps(command) + "\n" for command in commands))
    out = tmp_path / "o.jsonl"
    process = start(
        film, "--init", tmp_path / "j.json", "--out", out, "--set", f"control={control}", "--set", "max-frames=8"
    )
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert [event["event"] for event in events_of(said)] == ["control_refused", "control_done"]
    assert "joints" in str(events_of(said)[0]["reason"])
    names = [list(json.loads(line)["joints"]) for line in out.read_text().splitlines()]
    assert names == [["a", "b"]] * 5 + [["b"]] * 3
