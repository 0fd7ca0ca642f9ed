"""The first training run of a new user: `crwedge train clips/` and nothing else."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
import torch
from PIL import Image

from crwedge.cli import run
from crwedge.cli import train as command
from crwedge.train import precision
from crwedge.train.config import TrainConfig
from crwedge.train.config_file import read_config
from crwedge.train.run_config import RunConfig
from tests.unit.train.conftest import write_counting_video, write_sound

CONFIGS = sorted((Path(__file__).parents[3] / "crwedge" / "train" / "configs").glob("*.toml"))
QUICK = [
    "--set", "size=32", "--set", "probe_every=0", "--set", "calibrate=0", "--set", "log_every=2", "--batch", "2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_counting_video(tmp_path / "clips" / "a.mp4", frames=16, size=(64, 96))


def used_config(folder: Path) -> TrainConfig:
    return read_config(folder / "config.toml")


def test_the_recommended_recipe_and_a_time_that_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "USUAL_MINUTES", 0.02)
    assert run(["train", "clips", *QUICK]) == 0
    (folder,) = Path("runs").iterdir()
    config = used_config(folder)
    assert (config.views.mode, config.walk.nodes, config.run.minutes) == ("own", "map", 0.02)
    assert config.run.precision in ("float32", "bfloat16")
    lines = capsys.readouterr().err.splitlines()
    first = r"1 videos, 0\.0 minutes of footage; cpu \(\w+, \d+ threads\); recipe default; 0.02 minutes"
    assert re.fullmatch(first, lines[0])
    assert any(line.startswith("step 1  loss") for line in lines)


def test_an_hour_unless_a_length_is_given() -> None:
    assert command.USUAL_MINUTES == 60
    assert run(["train", "clips", "--steps", "1", "--out", "r", *QUICK]) == 0
    assert used_config(Path("r")).run.minutes == 0


def test_a_picture_with_a_caption_comes_soon(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "clips", "--steps", "2", "--out", "r", *QUICK]) == 0
    err = capsys.readouterr().err
    (path,) = Path("r").glob("picture-*.png")
    assert f"picture: {path}" in err
    with Image.open(path) as picture:
        assert picture.height > 32 + 12
        assert picture.convert("L").crop((0, 32, picture.width, picture.height)).getextrema() == (0, 255)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx2 fma", "float32"), ("avx512f avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), (None, "float32")],
)
def test_precision_follows_the_processor(
    flags: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(precision, "_CPUINFO", info)
    cpu = torch.device("cpu")
    assert precision.resolved(RunConfig(precision="auto"), cpu).precision == expected
    assert precision.resolved(RunConfig(precision="bfloat16"), cpu).precision == "bfloat16"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_know_no_files(path: Path) -> None:
    values = tomli.loads(path.read_text())
    assert not {"weights", "videos", "images", "cache"} & set(values.get("data", {}))
    assert not {"probe", "device"} & set(values.get("run", {}))
    assert values.get("run", {}).get("precision", "float32") != "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to learn from"),
        (["sound"], "only sound"),
        (["missing"], "there is no missing"),
        (["clips", "--probe", "clips"], "one clip only"),
        (["clips", "--device", "toaster"], "toaster"),
    ],
)
def test_a_failed_start_leaves_no_folder(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sound").mkdir()
    write_sound(tmp_path / "sound" / "a.mkv")
    before = sorted(path.name for path in tmp_path.iterdir())
    for more in ([], ["--out", "deep/er/run"]):
        assert run(["train", *arguments, *more]) == 2
        assert message in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == before


NEED_TORCH = {
    "train": ["train", "clips"],
    "import": ["import", "w.pth", "--kind", "moco"],
    "export": ["export", "--out", "b"],
    "floor": ["eval", "davis", ".", "--encoder", "random"],
    "study": ["study", "dropout", "tree", "--videos", "clips"],
    "ttt study": ["study", "ttt", "tree"],
    "ttt": ["track", "clips/a.mp4", "--mask", "m.png", "--ttt", "causal"],
}


@pytest.mark.parametrize("name", NEED_TORCH)
def test_missing_torch_is_one_line(name: str, tmp_path: Path) -> None:
    sequence = tmp_path / "tree" / "JPEGImages" / "480p" / "s"
    masks = tmp_path / "tree" / "Annotations" / "480p" / "s"
    sets = tmp_path / "tree" / "ImageSets" / "2017"
    for folder in (sequence, masks, sets):
        folder.mkdir(parents=True)
    (sets / "val.txt").write_text("s\n")
    for index in range(3):
        Image.new("RGB", (96, 64)).save(sequence / f"{index:05d}.jpg")
        mask = Image.new("L", (96, 64))
        mask.paste(255, (8, 8, 40, 40))
        mask.save(masks / f"{index:05d}.png")
    mask.save(tmp_path / "m.png")
    code = (
        f"import sys\nsys.modules['torch'] = None\nfrom crwedge.cli import run\nsys.exit(run({NEED_TORCH[name]!r}))\n"
    )
    env = {**os.environ, "CRWEDGE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not fnmatch.fnmatch(line, "engine * is used: *")]
    assert len(errors) == 1, done.stderr
    assert "torch" in errors[0]
    assert "pip install" in errors[0]
