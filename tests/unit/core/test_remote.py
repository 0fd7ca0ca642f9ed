"""Files on storage behind fsspec, by its own store in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.remote import fetch, info_stamp, local_shards, remote_stamp

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra cluster)")


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/", recursive=True)


def shard(name: str) -> bytes:
    """A shard with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(f"{name}.mp4")
        member.size = len(name)
        tar.addfile(member, io.BytesIO(name.encode()))
    return out.getvalue()


def members(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        with tarfile.open(path) as tar:
            found += tar.getnames()
    return found


def test_shards_are_shared_out_and_fetched_once(store: Any, tmp_path: Path) -> None:
    for number in range(11):
        store.pipe_file(f"/s/clips-{number}.tar", shard(str(number)))
    store.pipe_file("/s/notes.txt", b"no shard")
    found = []
    for part in range(3):
        paths, shared = local_shards(["memory://s"], tmp_path, part, 3)
        assert shared
        found.append(members(paths))
    assert found == [[f"{n}.mp4" for n in range(part, 11, 3)] for part in range(3)]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert len(times) == 11
    local_shards(["memory://s/*.tar"], tmp_path, 0, 3)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == times


def test_fewer_shards_than_parts_and_local_paths(store: Any, tmp_path: Path) -> None:
    store.pipe_file("/s/a.tar", shard("a"))
    paths, shared = local_shards(["clips", "memory://s/a.tar"], tmp_path, 1, 2)
    assert not shared
    assert paths[0] == "clips"
    assert members(paths[1:]) == ["a.mp4"]


def test_a_shard_that_was_written_again_is_fetched_again(store: Any, tmp_path: Path) -> None:
    for name in ("one", "other"):
        store.pipe_file("/s/a.tar", shard(name))
        assert members(local_shards(["memory://s/a.tar"], tmp_path)[0]) == [f"{name}.mp4"]


def test_what_is_not_there(store: Any, tmp_path: Path) -> None:
    store.pipe_file("/s/a.txt", b"")
    for uri in ("memory://s", "memory://nowhere", "memory://s/*.tar"):
        with pytest.raises(SourceError, match=r"no \.tar shard"):
            local_shards([uri], tmp_path)
    with pytest.raises(SourceError, match="there is no"):
        fetch("memory://s/b.mp4", tmp_path)
    with pytest.raises(SettingError, match="nostorage"):
        fetch("nostorage://s/b.mp4", tmp_path)


def test_stamps(store: Any) -> None:
    store.pipe_file("/s/a.tar", b"1")
    first = remote_stamp("memory://s/a.tar")
    assert remote_stamp("memory://s/a.tar") == first
    store.pipe_file("/s/a.tar", b"2")
    assert remote_stamp("memory://s/a.tar") != first
    folder = remote_stamp("memory://s")
    store.pipe_file("/s/b.tar", b"3")
    assert remote_stamp("memory://s") != folder


def test_a_listing_and_a_file_alone_tell_the_same() -> None:
    """As s3fs tells it: other keys, other types, and one hash."""
    listed = {"Key": "b/a", "ETag": '"0ab1"', "Size": 3, "StorageClass": "STANDARD", "size": 3, "name": "b/a"}
    alone = {"ETag": '"0ab1"', "LastModified": "now", "size": 3, "name": "b/a", "VersionId": None}
    assert info_stamp(listed) == info_stamp(alone) == "0ab1"
    assert info_stamp({"size": 3, "mtime": 1.5}) != info_stamp({"size": 3, "mtime": 1.6})
