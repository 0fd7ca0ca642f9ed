"""Videos, masks and results on storage without rename and locks: fsspec's own store in memory, and its files by URI."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crwedge.batch.remote_results import RemoteResults
from crwedge.cli import run
from crwedge.core.errors import SinkError, SourceError
from tests.unit.batch.conftest import FRAMES, lines, masks, start_batch

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra cluster)")


@pytest.fixture
def store(clips: Path) -> Iterator[Any]:
    """A store with the videos and masks in `clips/`."""
    memory = fsspec.filesystem("memory")
    memory.put(str(clips), "/clips", recursive=True)
    yield memory
    memory.rm("/", recursive=True)


def batch(*arguments: object) -> int:
    return run(["batch", *map(str, arguments)])


def manifest(store: Any) -> dict[str, Any]:
    found = [json.loads(line) for line in store.cat_file("/out/manifest.jsonl").splitlines()]
    return {line["name"]: line for line in found}


@pytest.mark.usefixtures("in_process")
def test_results_are_those_of_local_files(
    store: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(clips, "--out", tmp_path / "out") == 0
    assert batch("memory://clips", "--out", "memory://out") == 0
    store.get("/out", str(tmp_path / "fetched"), recursive=True)
    assert masks(tmp_path / "fetched") == masks(tmp_path / "out")
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {"manifest.jsonl", "v0", "v1", "v2"}
    local, remote = lines(tmp_path / "out"), manifest(store)
    for name in local:
        for same in ("state", "frames", "source_sha256", "mask_sha256", "settings", "outputs"):
            assert remote[name][same] == local[name][same]
    capsys.readouterr()
    assert batch("memory://clips", "--out", "memory://out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 3


@pytest.mark.usefixtures("in_process")
def test_a_table_and_a_corrected_mask(store: Any, clips: Path) -> None:
    store.pipe_file("/clips/t.csv", b"video,mask,start\nv0.mp4,v0.png,\nmemory://clips/v1.mp4,v1.png,2\n")
    assert batch("memory://clips/t.csv", "--out", "memory://out") == 0
    assert {name: line["frames"] for name, line in manifest(store).items()} == {"v0": FRAMES, "v1": FRAMES - 2}
    before = store.cat_file("/out/v0/result.json")
    store.pipe_file("/clips/v1.png", (clips / "v0.png").read_bytes())
    assert batch("memory://clips/t.csv", "--out", "memory://out") == 0
    assert store.cat_file("/out/v0/result.json") == before
    assert manifest(store)["v1"]["mask_sha256"] == manifest(store)["v0"]["mask_sha256"]
    assert len(store.ls("/out/v1/masks")) == FRAMES - 2


@pytest.mark.usefixtures("in_process")
def test_results_without_a_record_are_made_again(store: Any) -> None:
    assert batch("memory://clips", "--only", "v0", "--out", "memory://out") == 0
    store.rm("/out/v0/result.json")
    store.pipe_file("/out/v0/masks/00099.png", b"of an attempt that was killed")
    assert batch("memory://clips", "--only", "v0", "--out", "memory://out") == 0
    assert len(store.ls("/out/v0/masks")) == FRAMES


def test_a_second_batch_is_refused(store: Any) -> None:
    with (
        RemoteResults("memory://out").hold(),
        pytest.raises(SinkError, match="another batch"),
        RemoteResults("memory://out").hold(),
    ):
        pass
    assert not store.exists("/out/.crwedge-batch.json")


def test_the_lease_of_a_batch_that_was_killed(store: Any) -> None:
    with pytest.raises(ZeroDivisionError), RemoteResults("memory://out").hold():
        lease = json.loads(store.cat_file("/out/.crwedge-batch.json"))
        # Of a process that is no more.
        store.pipe_file("/out/.crwedge-batch.json", json.dumps({**lease, "pid": 2**22 + 1}).encode())
        with RemoteResults("memory://out").hold():
            raise ZeroDivisionError


def test_what_is_not_there(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("memory://nowhere/a.mp4", "nostorage://x/a.mp4"):
        assert batch(source, "--out", "memory://out") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(SourceError, match="there is no"):
        from crwedge.core.remote import fetch

        fetch("memory://nowhere/a.mp4", Path("/nonexistent"))


@pytest.mark.parametrize(("uri", "package"), [("gs://bucket/clips", "gcsfs"), ("s3://bucket/clips", "s3fs")])
def test_storage_whose_package_is_missing(
    uri: str,
    package: str,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for arguments in ((uri, "--out", tmp_path / "out"), (clips, "--out", uri)):
        assert batch(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{package} is not installed" in line
        assert line.endswith(f"install {package}")
    assert list(tmp_path.glob("out/*")) == []


@pytest.mark.usefixtures("in_process")
def test_files_by_uri_are_local_files(clips: Path, tmp_path: Path) -> None:
    assert batch(clips, "--out", tmp_path / "out") == 0
    assert batch(clips.as_uri(), "--out", (tmp_path / "again").as_uri()) == 0
    assert masks(tmp_path / "again") == masks(tmp_path / "out")
    assert {line["state"] for line in lines(tmp_path / "again").values()} == {"done"}


def test_a_damaged_lease_is_named(store: Any) -> None:
    store.pipe_file("/out/.crwedge-batch.json", b"{")
    with (
        pytest.raises(SinkError, match=r"json is damaged .*; remove it"),
        RemoteResults("memory://out").hold(),
    ):
        pass


def test_worker_processes_write_there_too(clips: Path, tmp_path: Path) -> None:
    """`local://` is fsspec's name of files, so it goes the way of `s3://`, in processes of their own."""
    process = start_batch(f"local://{clips}", "--out", f"local://{tmp_path}/out", "--workers", 2)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert {line["state"] for line in lines(tmp_path / "out").values()} == {"done"}
    assert len(masks(tmp_path / "out")) == 3 * FRAMES
