"""Which encoder is used, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.cli import run
from crwedge.core.bundle import ONNX, WEIGHTS, Bundle, write_bundle
from crwedge.core.errors import BundleError, SettingError
from crwedge.core.scene import Scene, render_scene
from crwedge.core.user_folders import data_home
from crwedge.runtime.bundle_lookup import bundles_home, find_bundle, shipped_bundle, use_bundle
from crwedge.runtime.bundle_scores import describe_bundle, known_score, record_score


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))


@pytest.fixture
def exported() -> Path:
    """A bundle among the exported ones: the shipped encoder under another name."""
    shipped = Bundle.open(shipped_bundle())
    files = {name: shipped.read(name) for name in (ONNX, WEIGHTS)}
    return write_bundle(bundles_home() / "mine", dataclasses.replace(shipped.manifest, name="mine"), files).path


def test_an_exported_bundle_is_used_only_when_it_was_chosen(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_bundle().path == shipped_bundle()
    assert find_bundle("mine").path == exported
    assert run(["use", "mine"]) == 0
    assert "used from now on: encoder mine" in capsys.readouterr().out
    assert find_bundle().path == exported
    assert find_bundle("shipped").path == shipped_bundle()
    assert run(["use", "shipped"]) == 0
    assert find_bundle().path == shipped_bundle()


def test_a_chosen_bundle_that_is_gone_is_named(exported: Path) -> None:
    use_bundle("mine")
    shutil.rmtree(exported)
    with pytest.raises(BundleError, match="crwedge use shipped"):
        find_bundle()


def test_a_damaged_choice_and_an_unknown_name_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["use", "nothing"]) == 2
    assert "there is no bundle nothing" in capsys.readouterr().err
    data_home().mkdir()
    (data_home() / "model.json").write_text("{")
    with pytest.raises(SettingError, match="crwedge use shipped"):
        find_bundle()
    assert run(["use", "shipped"]) == 0
    assert find_bundle().path == shipped_bundle()


def test_the_shipped_encoder_has_a_score_with_its_protocol() -> None:
    """A new shipped encoder needs a new entry in crwedge/assets/scores.json, by the hash of its ONNX file."""
    text = describe_bundle(find_bundle())
    assert "shipped with crwedge" in text
    assert "J&F" in text
    assert "cycle score without labels" in text
    assert "protocol crw" in text
    assert "protocol edge" in describe_bundle(find_bundle(), "edge")


def test_scores_belong_to_weights(exported: Path) -> None:
    bundle = Bundle.open(exported)
    assert known_score(bundle) == known_score(find_bundle("shipped"))
    other = Bundle(exported, dataclasses.replace(bundle.manifest, files={**bundle.manifest.files, ONNX: "0" * 64}))
    assert "never scored" in describe_bundle(other)
    record_score(other, "J&F 1.0 on nothing", "crw")
    record_score(other, "J&F 0.9 on nothing", "edge")
    assert describe_bundle(other).count("J&F 1.0 on nothing") == 1
    assert describe_bundle(other, "edge").count("J&F 0.9 on nothing") == 1
    assert describe_bundle(other, "dino").count("J&F 1.0 on nothing") == 1


def test_models_lists_all_and_marks_the_one_in_use(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use_bundle("mine", "scored higher")
    damaged = bundles_home() / "damaged"
    shutil.copytree(exported, damaged)
    (damaged / ONNX).write_bytes(b"")
    assert run(["models", "--json"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert {name: row["in_use"] for name, row in rows.items()} == {"shipped": False, "damaged": False, "mine": True}
    assert "damaged" in rows["damaged"]["error"]
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert "* mine" in out
    assert "in use: scored higher" in out
    assert "J&F 74.8" in out or "J&F" in out


def test_eval_remembers_the_score_of_a_whole_benchmark(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = render_scene(3, 64, 96)
    for folder, pictures, suffix in (
        ("JPEGImages", scene.frames, "jpg"),
        ("Annotations", [np.uint8(255) * (mask == 1) for mask in scene.masks], "png"),
    ):
        place = tmp_path / "davis" / folder / "480p" / "scene"
        place.mkdir(parents=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(np.asarray(picture)).save(place / f"{index:05d}.{suffix}")
    (tmp_path / "davis" / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "davis" / "ImageSets" / "2017" / "val.txt").write_text("scene\n")
    words = ["eval", "davis", "davis", "--model", "mine", "--size", "frame", "--threads", "1"]
    assert run([*words, "--max-frames", "3"]) == 0
    assert not (data_home() / "scores.json").exists()
    assert run(words) == 0
    scores = json.loads((data_home() / "scores.json").read_text())[Bundle.open(exported).sha256]
    assert "on 1 sequences of davis" in scores["crw"]


def without_privileges() -> list[str]:
    """What to put before a command so that root, too, is held by the permissions of files."""
    if os.geteuid() != 0:
        return []
    if not (setpriv := shutil.which("setpriv")):
        pytest.skip("root ignores permissions, and setpriv (util-linux) is not installed")
    return [setpriv, "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.parametrize("home", ["closed", "missing"])
@pytest.mark.parametrize("command", ["doctor", "models", "track"])
def test_a_home_that_may_not_be_entered_is_absent(command: str, home: str, small_scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(small_scene.frames[:2]):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    Image.fromarray(small_scene.masks[0]).save(tmp_path / "init.png")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CRWEDGE_"))}
    words = [*without_privileges(), sys.executable, "-m", "crwedge", command]
    if command == "track":
        words += ["frames", "--mask", "init.png", "--out", "masks", "--set", "threads=1"]
    env = {**kept, "HOME": str(tmp_path / home)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_the_terminal_cannot_show_ends_no_run(small_scene: Scene, tmp_path: Path) -> None:
    folder = os.fsdecode(b"caf\xe9")
    (tmp_path / folder).mkdir()
    Image.fromarray(small_scene.frames[0]).save(tmp_path / folder / "0.png")
    Image.fromarray(small_scene.masks[0]).save(tmp_path / "init.png")
    words = ["track", folder, "--mask", "init.png", "--out", "é日", "--set", "threads=1"]
    for more in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}):
        done = subprocess.run(
            [sys.executable, "-m", "crwedge", *words, "--overwrite"],
            cwd=tmp_path,
            env={**os.environ, **more},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"1 frames at" in done.stdout + done.stderr
        assert len(list((tmp_path / "é日").glob("*.png"))) == 1


def test_standard_output_of_any_encoding(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "CRWEDGE_HOME": str(tmp_path / "é日")}
    done = subprocess.run(
        [sys.executable, "-m", "crwedge", "models"], env=env, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"\\xe9\\u65e5" in done.stdout
