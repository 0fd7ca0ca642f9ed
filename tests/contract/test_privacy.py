"""Nothing leaves the device: no socket, and no file outside the outputs and the documented caches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.core.scene import render_scene
from tests.unit.conftest import write_video

COMMANDS = {
    "track": "track clips/a.mp4 --mask init.png --out masks --out o.mp4 --out o.jsonl --threads 1 --engine cpu",
    "train": "train clips --out run --steps 2 --config demo --set synthetic= --set calibrate=1 --workers 1 --device cpu",
    "export": "export --out bundle --no-report --engine onnx",
    "demo": "demo --out demo --frames 3",
}
"""What a user runs first; each writes only into the folder that it runs in."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work")
    scene = render_scene(4, 64, 96)
    (path / "clips").mkdir()
    write_video(path / "clips" / "a.mp4", np.stack(list(scene.frames)))
    Image.fromarray(scene.masks[0]).save(path / "init.png")
    return path


def environment(home: Path) -> dict[str, str]:
    """Of a user with an empty HOME, who has set nothing, and measures no coverage, which writes files of its own."""
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "CRWEDGE_", "ORT_", "TMP", "NUMBA_", "MPL", "COVERAGE_"))
    }
    return {**kept, "HOME": str(home), "TMPDIR": str(home.parent)}


CACHES = (".cache/matplotlib", ".config/matplotlib", ".cache/fontconfig")
"""Of matplotlib, which draws the curve of a training; docs/security.md names them."""


def left_in(home: Path, documented: tuple[str, ...] = ()) -> list[str]:
    found = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return [name for name in found if not name.startswith(tuple(f"{one}/" for one in documented))]


@pytest.mark.parametrize(
    "code",
    [
        "import crwedge, onnxruntime",
        "import crwedge.core.bundle, onnxruntime",
        "from crwedge.runtime.tracker import Tracker; Tracker.open(engine='cpu').close()",
        "import crwedge, subprocess, sys; subprocess.run([sys.executable, '-c', 'import onnxruntime'], check=True)",
    ],
)
def test_onnxruntime_starts_without_telemetry(code: str, tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=True)
    assert left_in(tmp_path / "home") == []


def test_a_user_cannot_turn_it_on_by_accident(tmp_path: Path) -> None:
    env = {**environment(tmp_path / "home"), "ORT_DISABLE_TELEMETRY": "0"}
    code = "import crwedge, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_onnxruntime_imported_first_is_told_to_stop() -> None:
    """A stand-in with the one function that counts; a real one would write its files into this user's home."""
    code = (
        "import sys, types\n"
        "told = []\n"
        "sys.modules['onnxruntime'] = types.SimpleNamespace(disable_telemetry_events=lambda: told.append(1))\n"
        "import crwedge\n"
        "assert told == [1]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_leaves_nothing_outside_its_outputs(name: str, folder: Path, tmp_path: Path) -> None:
    home, trace = tmp_path / "home", tmp_path / "trace"
    env = environment(home)
    command = [sys.executable, "-m", "crwedge", *COMMANDS[name].split()]
    traced = shutil.which("strace")
    if traced:
        command = [
            traced,
            "-f",
            "-qq",
            "-s",
            "300",
            "-e",
            "trace=socket,connect,open,openat,mkdir",
            "-o",
            str(trace),
            *command,
        ]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert left_in(home, CACHES if name == "train" else ()) == []
    if not traced:
        pytest.skip("strace is not installed (apt-get install strace): files in HOME were checked, sockets were not")
    calls = trace.read_text(errors="replace").splitlines()
    assert [line for line in calls if "AF_INET" in line] == []
    created = [
        match[1] for line in calls if (match := re.search(r'"([^"]*)", [^"]*O_CREAT', line)) and "ENOENT" not in line
    ]
    assert len(created) > 2
    assert [path for path in created if not is_allowed(folder / path, folder, tmp_path)] == []


def is_allowed(path: Path, folder: Path, temporary: Path) -> bool:
    """Outputs, temporary files, shared memory, devices; compiled code beside its source, as docs/security.md says."""
    if path.is_relative_to(folder) or path.is_relative_to(temporary) or path.is_relative_to("/dev"):
        return True
    return "__pycache__" in path.parts and not path.is_relative_to(temporary / "home")
