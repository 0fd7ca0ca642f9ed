"""`crwedge track --config FILE.toml`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from crwedge.cli import run
from crwedge.core.scene import Scene


@pytest.fixture
def folder(small_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(small_scene.frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    Image.fromarray(small_scene.masks[0]).save(tmp_path / "init.png")
    return tmp_path


def test_options_come_from_the_file_and_the_command_line_wins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "track.toml").write_text(
        '\ufeffsource = "frames"\nmask = "init.png"\nout = ["masks", "o.jsonl"]\nmax-frames = 2\ncontext = 3\nradius = inf\n'
        "threads = 1\njson = true\nresize_mask = true\n",
        encoding="utf-8",
    )
    assert run(["track", "--config", "track.toml"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["tracked"], result["protocol"]["context_length"], result["protocol"]["radius"]) == (2, 3, None)
    assert sorted(path.name for path in folder.iterdir() if path.name in ("masks", "o.jsonl")) == ["masks", "o.jsonl"]
    words = ["track", "frames", "--config", "track.toml", "--set", "max-frames=3", "--out", "other"]
    assert run(words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["tracked"], result["outputs"]) == (3, ["other"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cels = 3", "unknown key 'cels'; did you mean cells?"),
        ("qqq = 3", "unknown key 'qqq'; "),
        ("context = [3, 4]", "takes one value, not a list"),
        ("context = true", "it must be a number or text"),
        ("resume = 1", "it must be true or false"),
        ("[size]\nheight = 3", "size is a dict"),
        ("out = [[1]]", "out is a list"),
        ("context = many", "cannot be read"),
        ('context = "many"', "context-length is a whole number"),
        ('config = "other.toml"', "unknown key 'config'"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "track.toml").write_text(text)
    assert run(["track", "frames", "--mask", "init.png", "--config", "track.toml"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_missing_file_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["track", "frames", "--mask", "init.png", "--config", "none.toml"]) == 2
    assert "none.toml cannot be read: No such file" in capsys.readouterr().err


def test_the_start_names_the_encoder_and_its_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["track", "frames", "--mask", "init.png", "--set", "threads=1", "--set", "max-frames=1"]
    assert run([*words, "--model", "shipped"]) == 0
    out = capsys.readouterr()
    assert "encoder walk-r18 (shipped with crwedge" in out.out + out.err
    assert "protocol" in out.out + out.err


@pytest.mark.parametrize("word", ["cells=400", "overwrite=true"])
def test_an_option_that_is_given_as_a_setting_is_named(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["track", "frames", "--mask", "init.png", "--set", word]) == 2
    name = word.partition("=")[0]
    assert f"{name} is an option of its own: --{name}" in capsys.readouterr().err


def test_a_configuration_that_is_not_utf_8_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "track.toml").write_bytes("cells = 400".encode("utf-16"))
    assert run(["track", "frames", "--mask", "init.png", "--config", "track.toml"]) == 2
    assert "not UTF-8" in capsys.readouterr().err
