"""An engine is given out only when it fits, is whole, and nobody else could have written it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from crwedge.core.engine_key import ANY_DEVICE, EngineKey, Profile, mismatch
from crwedge.core.engine_store import EngineFacts, engine_folders, find_engine, write_engine
from crwedge.core.errors import BundleError, SettingError
from crwedge.core.files import sha256

RANGE = Profile((64, 64), (480, 854), (1088, 1920))
KEY = EngineKey("a" * 64, "tensorrt", "10.3.0", "8.7", "float16", RANGE)
DATA = b"an engine"


def facts(key: EngineKey = KEY) -> EngineFacts:
    return EngineFacts(key, sha256(DATA), True, "Orin", "0.1.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_engine(tmp_path / "engines", facts(), DATA)
    return tmp_path / "engines"


def test_what_was_written_is_found(folder: Path) -> None:
    found = find_engine([folder], KEY)
    assert found is not None
    assert found.data == DATA
    assert found.facts == facts()
    assert find_engine([folder / "nowhere", folder], KEY, (480, 640)) is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"onnx_sha256": "b" * 64}, "another encoder.onnx"),
        ({"module": "tensorrt_rtx"}, "built by tensorrt, this is tensorrt_rtx"),
        ({"version": "10.7.0"}, "this machine has 10.7.0"),
        ({"compute_capability": "8.9"}, "compute capability 8.7, this one has 8.9"),
        ({"precision": "int8"}, "precision is float16, the bundle's is int8"),
        ({"profile": Profile.of((480, 640))}, "not 480x640"),
    ],
)
def test_every_mismatch_has_a_message_that_says_what_to_run(
    folder: Path, change: dict, reason: str, said: list[str]
) -> None:
    assert find_engine([folder], replace(KEY, **change)) is None
    assert len(said) == 1
    assert reason in said[0]
    assert "crwedge export --engine" in said[0]
    assert "\n" not in said[0]


def test_a_size_out_of_the_profile_is_a_mismatch(folder: Path, said: list[str]) -> None:
    assert find_engine([folder], KEY, (2000, 2000)) is None
    assert "not 2000x2000" in said[0]
    assert mismatch(KEY, KEY, (64, 1920)) is None


def test_an_engine_for_every_device_fits_any() -> None:
    assert mismatch(replace(KEY, compute_capability=ANY_DEVICE), KEY) is None
    assert mismatch(KEY, replace(KEY, compute_capability=ANY_DEVICE)) is not None


def test_an_engine_renamed_to_another_gpu_is_left(folder: Path, said: list[str]) -> None:
    other = replace(KEY, compute_capability="8.9")
    for ending in (".engine", ".json"):
        (folder / f"{KEY.name}{ending}").rename(folder / f"{other.name}{ending}")
    assert find_engine([folder], other) is None
    assert "renamed" in said[0]


@pytest.mark.parametrize("at", [0, len(DATA) - 1])
def test_a_changed_byte_is_refused(folder: Path, at: int) -> None:
    path = folder / f"{KEY.name}.engine"
    bad = bytearray(DATA)
    bad[at] ^= 1
    path.write_bytes(bad)
    with pytest.raises(BundleError, match="changed or damaged"):
        find_engine([folder], KEY)


def test_an_engine_that_others_may_write_is_refused(folder: Path) -> None:
    (folder / f"{KEY.name}.engine").chmod(0o666)
    with pytest.raises(BundleError, match="executable code"):
        find_engine([folder], KEY)
    (folder / f"{KEY.name}.engine").chmod(0o644)
    folder.chmod(0o777)
    with pytest.raises(BundleError, match="chmod go-w"):
        find_engine([folder], KEY)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_an_engine_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder / f"{KEY.name}.engine", 12345, 12345)
    with pytest.raises(BundleError, match="executable code"):
        find_engine([folder], KEY)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 99}', '{"format_version": 1, "key": {}}'])
def test_facts_that_cannot_be_read_are_left_with_a_reason(folder: Path, text: str, said: list[str]) -> None:
    (folder / f"{KEY.name}.json").write_text(text)
    assert find_engine([folder], KEY) is None
    assert "ignored" in said[0]


def test_an_engine_without_facts_is_never_looked_at(folder: Path) -> None:
    (folder / f"{KEY.name}.json").unlink()
    assert find_engine([folder], KEY) is None


def test_the_key_survives_json() -> None:
    assert EngineKey.from_dict(json.loads(json.dumps(KEY.to_dict()))) == KEY
    with pytest.raises(BundleError, match="description of the engine is damaged"):
        EngineKey.from_dict({"profile": {}})


def test_the_name_tells_everything_and_is_a_plain_file_name() -> None:
    assert KEY.name == "tensorrt-10.3.0-cc8.7-float16-64x64-480x854-1088x1920-" + "a" * 16
    assert "/" not in replace(KEY, version="10/3").name


@pytest.mark.parametrize("sizes", [((64, 64), (32, 64), (128, 128)), ((0, 0), (64, 64), (64, 64))])
def test_a_profile_out_of_order_is_refused(sizes: tuple) -> None:
    with pytest.raises(SettingError):
        Profile(*sizes)


def test_a_folder_that_cannot_be_written_is_one_clear_error() -> None:
    with pytest.raises(BundleError, match="cannot write"):
        write_engine(Path("/proc/engines"), facts(), DATA)


def test_engines_are_looked_for_beside_the_bundle_first(tmp_path: Path) -> None:
    assert engine_folders(tmp_path / "b", tmp_path / "home")[0] == tmp_path / "b" / "engines"
