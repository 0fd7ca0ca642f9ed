"""Every example runs as it is written, on a rendered film."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene, render_scene
from tests.conftest import ROOT
from tests.motion_jpeg import jpegs, motion_jpeg
from tests.unit.conftest import write_video

EXAMPLES = ROOT / "examples"
FRAMES = 8
SMALL = (
    *(
        "steps=2",
        "size=32",
        "short_side=48",
        "batch=2",
        "clip_length=2",
        "workers=0",
        "probe_every=0",
        "picture_every=0",
    ),
    *("calibrate=1", "calibrate_side=48", "walk.nodes=map", "views.mode=own", "images=[]", "in_memory=false"),
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(FRAMES, 96, 128)


@pytest.fixture
def place(tmp_path: Path, scene: Scene) -> Path:
    """A folder with `film.mp4`, `frames/`, `clips/`, `init.png` and `joints.json`."""
    write_video(tmp_path / "film.mp4", scene.frames)
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "a.mp4", scene.frames)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number:03d}.png")
    write_mask(tmp_path / "init.png", scene.masks[0])
    centres = {f"object {i}": np.argwhere(scene.masks[0] == i).mean(axis=0)[::-1].tolist() for i in (1, 2)}
    (tmp_path / "joints.json").write_text(json.dumps(centres))
    return tmp_path


def run(name: str, place: Path, *arguments: str, timeout: float = 300) -> str:
    """Run an example in `place` as a user does; returns what it printed."""
    home = {"XDG_CACHE_HOME": str(place / "cache"), "XDG_CONFIG_HOME": str(place / "config"), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=place,
        env={**os.environ, **home, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def camera(scene: Scene) -> Iterator[str]:
    """The address of a camera: motion JPEG over HTTP on this machine."""
    pictures = jpegs(scene.frames)
    with motion_jpeg(lambda: itertools.chain(pictures, itertools.repeat(pictures[-1])), 10) as address:
        yield address


def test_every_example_is_short_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    tests = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 40, path
        assert f"`{path.name}`" in listed
        assert f'"{path.name}"' in tests


def test_webcam(place: Path, camera: str) -> None:
    lines = run("webcam.py", place, camera, "init.png", "4").splitlines()
    assert len(lines) >= 4
    assert "object 1 at (" in lines[0]


def test_folder(place: Path, scene: Scene) -> None:
    run("folder.py", place, "frames", "init.png", "masks")
    assert len(list((place / "masks").glob("*.png"))) == FRAMES
    np.testing.assert_array_equal(cw.read_mask(place / "masks" / "000.png"), scene.masks[0])


@pytest.mark.slow
def test_own_encoder(place: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[train,export]'")
    shown = run("own_encoder.py", place, "clips", "film.mp4", "init.png", *SMALL, timeout=600)
    assert "followed with" in shown
    assert len((place / "own.jsonl").read_text().splitlines()) == FRAMES
    assert (place / "bundles" / "own" / "manifest.json").is_file()


def test_keypoints(place: Path) -> None:
    lines = run("keypoints.py", place, "film.mp4", "joints.json").splitlines()
    assert len(lines) == FRAMES
    assert "'object 1'" in lines[0]


@pytest.mark.slow
def test_training_at_test_time(place: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[train,export]'")
    shown = run("test_time_training.py", place, "film.mp4", "init.png", "1", timeout=600)
    assert "new encoders from" in shown
    assert not shown.startswith("0 ")
    assert len(list((place / "masks").glob("*.png"))) == FRAMES


def test_several_cameras(place: Path) -> None:
    lines = run("several_cameras.py", place, "film.mp4", "init.png", "frames", "init.png").splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"film.mp4: {FRAMES} frames", f"frames: {FRAMES} frames"]
    for number in (0, 1):
        assert len((place / f"camera-{number}.jsonl").read_text().splitlines()) == FRAMES


@pytest.mark.slow
def test_http_control(place: Path) -> None:
    if find_spec("crwedge.cli.serve") is None or find_spec("fastapi") is None:
        pytest.skip("crwedge serve is not installed: pip install '.[serve]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "crwedge", "serve", "film.mp4", "--play", "--listen", str(port), "--out", "served"]
    server = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api/state")
        shown = run("http_control.py", place, f"http://127.0.0.1:{port}", "init.png")
    finally:
        server.terminate()
        server.wait(30)
    assert "applied: " in shown
    assert "stopped: " in shown


def wait_until_it_answers(url: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                if json.loads(answer.read())["frame"] is not None:
                    return
        except OSError:
            assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.2)


def test_export_to_cvat(place: Path) -> None:
    shown = run("export_to_cvat.py", place, "film.mp4", "init.png", "1=dog,2=rider")
    assert f"task.zip: {FRAMES} frames of film with {{1: 'dog', 2: 'rider'}}" in shown
    categories = json.loads((place / "instances.json").read_text())["categories"]
    assert [one["name"] for one in categories] == ["dog", "rider"]


def test_with_supervision(place: Path) -> None:
    pytest.importorskip("supervision", reason="supervision is not installed: make interop")
    run("with_supervision.py", place, "film.mp4", "init.png", "out.mp4")
    with cw.open_source(place / "out.mp4") as source:
        assert len(list(source)) == FRAMES


def test_with_rerun(place: Path) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed: make interop")
    run("with_rerun.py", place, "film.mp4", "init.png", "out.rrd")
    data = (place / "out.rrd").read_bytes()
    assert data[:3] == b"RRF"
    assert len(data) > 5000
