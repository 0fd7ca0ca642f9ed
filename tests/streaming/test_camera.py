"""`crwedge track` as a process on a camera: motion JPEG over HTTP, which stalls."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.motion_jpeg import jpegs, motion_jpeg

RATE = 10


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(10, 48, 64)


@pytest.fixture
def camera(scene: Scene) -> Iterator[tuple[str, threading.Event]]:
    """The address of a camera, and the event that stops its frames; the connection stays open."""
    pictures, stall = jpegs(scene.frames), threading.Event()

    def sent() -> Iterator[bytes | None]:
        coming = itertools.cycle(pictures)
        while True:
            yield None if stall.is_set() else next(coming)

    with motion_jpeg(sent, RATE) as address:
        yield address, stall


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def wait_for_code(port: int, code: int) -> None:
    until = time.monotonic() + 120
    while ask(port, "/healthz")[0] != code:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_health_turns_before_the_watchdog_does(
    scene: Scene, camera: tuple[str, threading.Event], tmp_path: Path
) -> None:
    address, stall = camera
    write_mask(tmp_path / "init.png", scene.masks[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = ["track", address, "--mask", tmp_path / "init.png", "--model", shipped_bundle(), "--set", "threads=1"]
    words += [
        "--set",
        "context-length=3",
        "--out",
        tmp_path / "o.jsonl",
        "--set",
        f"metrics={port}",
        "--set",
        f"log={tmp_path / 'log'}",
    ]
    words += ["--set", "watchdog=10", "--set", "explain=true", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "crwedge", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_code(port, 200)
    until = time.monotonic() + 120
    while (tmp_path / "o.jsonl").read_text().count("\n") < 20 and time.monotonic() < until:
        time.sleep(0.02)
    rates = [
        float(line.split()[-1]) for line in ask(port, "/metrics")[1].splitlines() if line.startswith("crwedge_fps{")
    ]
    assert 0 < rates[0] < 2 * RATE
    stall.set()
    wait_for_code(port, 503)
    assert "source_lost" not in (tmp_path / "log").read_text()
    stall.clear()
    wait_for_code(port, 200)
    process.terminate()
    shown, said = process.communicate(timeout=300)
    assert process.returncode == 143, said
    result = json.loads(shown)
    assert result["frames_in"] == result["tracked"] + result["dropped"] + result["failed"]
    assert result["restarts"] == 0
    # Waiting for the camera is no work, and is not called decoding.
    assert result["stages_ms"]["camera"]["p50"] > result["stages_ms"]["decode"]["p50"] == 0
    assert set(result["stage_shares"]) == {"decode", "encode", "propagate", "output", "write"}
    assert "waiting" in said
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert len(lines) == result["tracked"]
