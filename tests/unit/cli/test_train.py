from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crwedge.cli import run
from tests.unit.train.conftest import write_counting_video, write_sound

TINY = [
    "--set", "nodes=map", "--set", "mode=own", "--set", "stage=res3", "--set", "head=0", "--set", "size=32",
    "--set", "probe_every=0", "--set", "picture_every=0", "--set", "calibrate=0", "--workers", "0",
    "--clip-length", "2", "--batch", "2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_train_resume_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_counting_video(tmp_path / "clips" / "a.mp4")
    (tmp_path / "clips" / "zero.mp4").touch()
    arguments = ["train", "clips", "--out", "run", "--steps", "2", "--json", *TINY]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    report = json.loads(out.strip().splitlines()[-1])
    assert (report["steps"], report["finished"], report["skipped"]) == (2, True, 1)
    assert Path(report["checkpoint"]).is_file()
    assert err.count("zero.mp4: it is empty") == 1
    assert run(["train", "--resume", "--out", "run", "--steps", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--demo"),
        (["missing"], "there is no missing"),
        (["sound"], "only sound"),
        (["clips", "--demo"], "leave the data out"),
        (["clips", "--set", "nodes=x"], "must be one of"),
        (["clips", "--config", "none.toml"], "cannot be read"),
        (["--resume"], "needs --out"),
        (["--resume", "--out", "clips"], "holds no run"),
        (["clips", "--device", "toaster"], "device is 'toaster'"),
        (["clips", "--probe", "clips"], "one clip only"),
    ],
)
def test_what_the_user_can_fix_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_counting_video(tmp_path / "clips" / "a.mp4")
    (tmp_path / "sound").mkdir()
    write_sound(tmp_path / "sound" / "a.mkv")
    assert run(["train", *arguments]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1


def test_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--settings"]) == 0
    assert "edge_dropout = 0.1" in capsys.readouterr().out


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from crwedge.cli import run; run(['train', '--help']); run(['import', '--help']);"
        "assert 'torch' not in sys.modules and 'kornia' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: crwedge train" in done.stdout
    assert "Example: crwedge import" in done.stdout
