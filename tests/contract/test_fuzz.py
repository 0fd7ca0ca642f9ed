"""Broken inputs are refused in one line by every parser; `python -m tests.fuzz` feeds a million."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import crwedge as cw
from crwedge.adapt.settings import parse_changes
from crwedge.batch.results import parse_manifest
from crwedge.batch.table import read_table
from crwedge.core.bundle import Bundle
from crwedge.core.errors import BundleError, CrwedgeError, MaskError, SettingError
from crwedge.core.images import parse_size
from crwedge.core.joints import read_joints
from crwedge.core.json_text import parse_json
from crwedge.formats.open import open_annotation
from crwedge.train.config_file import read_config
from tests.fuzz import run
from tests.fuzz_parsers import Parser, parsers, sealed


@pytest.fixture(scope="module")
def every() -> dict[str, Parser]:
    return parsers()


def test_good_inputs_are_not_refused(every: dict[str, Parser], tmp_path: Path) -> None:
    for name, parser in every.items():
        for seed in parser.seeds:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            parser.feed(folder, seed)


def test_broken_inputs(every: dict[str, Parser], tmp_path: Path) -> None:
    for name, parser in every.items():
        folder = tmp_path / name
        folder.mkdir()
        out = run(parser, 100, seed=1, folder=folder)
        assert not out.failures, name
        assert out.refused > 0, name


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1e999}', "[Infinity]", "", "nothing", f"[{'9' * 309}]"])
def test_json_that_no_program_writes(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_numbers_that_no_float_holds(tmp_path: Path) -> None:
    (tmp_path / "joints.json").write_text(f'{{"hand": [412, {"9" * 400}]}}')
    with pytest.raises(MaskError, match=r"the number 9{20}\.\.\. is too large"):
        read_joints(tmp_path / "joints.json")
    assert parse_json(f"[{2**64}, -7]") == [2**64, -7]
    for text in (f"scale = [{'9' * 400}, 1]", f"temperature = -{'9' * 400}", f"steps = {'9' * 400}"):
        (tmp_path / "recipe.toml").write_text(text)
        with pytest.raises(SettingError, match="more than 308 digits"):
            read_config(tmp_path / "recipe.toml")
    with pytest.raises(SettingError, match="more than 308 digits"):
        cw.PropagationSettings(topk=10**400)


def test_a_message_is_one_line_that_no_terminal_obeys() -> None:
    assert str(CrwedgeError("a\r\n  \x1b[31mb\u2028c\0")) == r"a \x1b[31mb c\x00"
    assert str(CrwedgeError("größe ✓")) == "größe ✓"


def test_nested_too_deeply_in_tables_and_settings(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "t.jsonl").write_text(deep)
    with pytest.raises(SettingError, match="line 1 is not JSON"):
        read_table(str(tmp_path / "t.jsonl"))
    with pytest.raises(CrwedgeError, match="remove it"):
        parse_manifest(deep.encode())
    assert parse_changes([f"layers={deep}"]) == {"layers": deep}


@pytest.mark.parametrize("more", [{"mask": True}, {"save": [1]}, {"save": 5}, {"settings": "x"}, {"model": {}}])
def test_cells_of_another_kind(tmp_path: Path, more: dict[str, object]) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"video": "a.mp4", **more}) + "\n")
    with pytest.raises(SettingError, match=r"line 1: .*must be (text|objects)"):
        read_table(str(tmp_path / "t.jsonl"))


@pytest.mark.parametrize(
    ("name", "value"), [("channels", {}), ("mean", ["a", 0, 0]), ("size", [1]), ("preset", None), ("cycle", [])]
)
def test_a_sealed_manifest_of_other_types(every: dict[str, Parser], tmp_path: Path, name: str, value: object) -> None:
    manifest = every["manifest"]
    manifest.feed(tmp_path, manifest.seeds[0])
    (tmp_path / "manifest.json").write_bytes(sealed(json.dumps(json.loads(manifest.seeds[0]) | {name: value}).encode()))
    with pytest.raises(BundleError, match=f"is damaged .*{name}"):
        Bundle.open(tmp_path)


def test_a_number_of_thousands_of_digits() -> None:
    with pytest.raises(SettingError, match="HEIGHTxWIDTH"):
        parse_size("9" * 5000 + "x854")


def test_an_infinite_number_in_json_lines(tmp_path: Path) -> None:
    line = '{"index": 0, "objects": {"1": {"size": [12, 1e999], "counts": "0"}}}\n'
    (tmp_path / "m.jsonl").write_text(line)
    with pytest.raises(CrwedgeError, match="too large"), open_annotation(tmp_path / "m.jsonl"):
        pass


def test_a_zip_with_a_file_without_a_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("."), b"<annotations/>")
    with pytest.raises(CrwedgeError, match=r"a\.zip"), open_annotation(tmp_path / "a.zip"):
        pass
