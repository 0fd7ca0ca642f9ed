"""Files on storage that fsspec reaches: `s3://`, `gs://` and the like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.files import atomic_path
from crwedge.core.location import path_key
from crwedge.core.optional import import_optional
from crwedge.core.packages import pip_command
from crwedge.core.uri import redact, scheme_of

_HASHES = ("ETag", "etag", "md5Hash", "content_md5", "checksum")
_TIMES = ("size", "LastModified", "last_modified", "updated", "mtime", "created")


def is_remote_file(path: str) -> bool:
    """Whether a path is a URI of other storage than this machine's files."""
    return scheme_of(path) not in ("", "file")


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed.
        SettingError: no such kind of storage, or the package for it is not installed.
    """
    fsspec = import_optional("fsspec", extra="cluster")
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        # fsspec says in words of its own what to install; the error beneath has the name.
        name = getattr(error.__cause__, "name", None) or error.name
        cure = f"{name} is not installed: {pip_command()} install {name}" if name else " ".join(str(error).split())
        raise SettingError(f"{redact(uri)} cannot be reached: {cure}") from error
    except ValueError as error:
        raise SettingError(f"{redact(uri)} cannot be reached: {' '.join(str(error).split())}") from error
    return system, str(path)


def fetch(uri: str, folder: Path) -> Path:
    """A copy of a remote file, or of all files of a remote folder, in `folder`.

    Raises:
        SourceError: it is not there, or cannot be read.
    """
    system, path = filesystem(uri)
    target = folder / (Path(path).name or "video")
    try:
        if not system.exists(path):
            raise SourceError(f"there is no {redact(uri)}")
        system.get(path, str(target), recursive=system.isdir(path))
    except OSError as error:
        raise SourceError(f"{redact(uri)} cannot be read: {error}") from error
    return target


def remote_stamp(uri: str) -> str:
    """Changes when the file or a file of the folder is written: by the hash that the storage keeps, else by size and time.

    Raises:
        SourceError: it is not there, or cannot be read.
    """
    system, path = filesystem(uri)
    try:
        names = system.find(path) if system.isdir(path) else [path]
        stamps = [(name, info_stamp(system.info(name))) for name in sorted(names)]
    except OSError as error:
        raise SourceError(f"{redact(uri)} cannot be read: {error}") from error
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


def info_stamp(info: dict[str, Any]) -> str:
    """The part of what fsspec tells of a file that is the same in a listing and of the file alone."""
    if known := [str(info[name]).strip('"') for name in _HASHES if info.get(name)]:
        return known[0]
    return " ".join(str(info[name]) for name in _TIMES if info.get(name) is not None)


def local_shards(paths: Sequence[str], folder: Path, part: int = 0, parts: int = 1) -> tuple[list[str], bool]:
    """Copies of remote shards on this machine, each fetched once.

    Args:
        paths: local paths, which stay as they are, and URIs of `.tar` files, of folders of them, or with `*`.
        folder: where copies are kept. A shard that is written again on its storage is fetched again.
        part: which share of the remote shards is fetched, from 0. With fewer shards than shares, all are fetched.
        parts: number of shares.

    Returns:
        Local paths, and whether the remote shards were shared out.

    Raises:
        SourceError: there is no such shard, or it cannot be read or kept.
    """
    shards: list[str] = []
    for uri in filter(is_remote_file, paths):
        system, path = filesystem(uri)
        try:
            found = system.glob(path) if "*" in path else system.find(path)
        except OSError as error:
            raise SourceError(f"{redact(uri)} cannot be read: {error}") from error
        found = [name for name in found if name.endswith(".tar")]
        if not found:
            raise SourceError(f"there is no .tar shard {redact(uri)}")
        shards += [system.unstrip_protocol(name) for name in sorted(found, key=path_key)]
    shared = 1 < parts <= len(shards)
    own = shards[part::parts] if shared else shards
    return [*(p for p in paths if not is_remote_file(p)), *(str(_kept(uri, folder)) for uri in own)], shared


def _kept(uri: str, folder: Path) -> Path:
    """The copy of one shard. Its name tells the state of the original, so an old copy is never read."""
    key = hashlib.sha256(f"{uri} {remote_stamp(uri)}".encode()).hexdigest()[:16]
    system, path = filesystem(uri)
    target = folder / key / Path(path).name
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as temporary:
                system.get_file(path, str(temporary))
        except OSError as error:
            raise SourceError(f"{redact(uri)} cannot be copied to {folder}: {error}") from error
    return target
