"""benchmarks/gpu.py where there is no GPU: it tries itself with plain kernels, and fails with one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
def test_the_script_checks_every_setting_and_writes_nothing_on_a_cpu(tmp_path: Path) -> None:
    done = run("--on-cpu", "--out", str(tmp_path), "--seed", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("all checks passed")
    assert "passed False" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_it_says_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_LIBCUDA", "libnothere.so.1")
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "benchmarks/gpu.py: libcuda.so.1 is missing: this machine has no NVIDIA driver (install it, or use --engine cpu)\n"
    )
