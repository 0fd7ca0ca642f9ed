"""Storage that fsspec reaches: `s3://`, `gs://` and the like. Paths and `file://` are files of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.optional import import_optional
from crwedge.runtime.sources.uri import redact, scheme_of

_LIVE = ("rtsp", "rtsps", "srt", "tcp", "udp", "v4l2", "csi", "mqtt", "mqtts")


def is_remote(path: str) -> bool:
    """Whether a path is a URI of other storage than this machine's files.

    Raises:
        SourceError: it is a stream, which has no end.
    """
    scheme = scheme_of(path)
    if scheme in _LIVE:
        raise SourceError(f"{redact(path)} is a stream; `crwedge batch` takes recorded videos, `crwedge track` streams")
    return scheme not in ("", "file")


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed.
        SettingError: no such kind of storage, or the package for it is not installed.
    """
    fsspec = import_optional("fsspec", extra="cluster")
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
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
    """Changes when the file or a file of the folder is written: what the storage tells of it (size, time, ETag).

    Raises:
        SourceError: it is not there, or cannot be read.
    """
    system, path = filesystem(uri)
    try:
        names = system.find(path) if system.isdir(path) else [path]
        return "+".join(sorted(str(system.ukey(name))[:16] for name in names))[:800]
    except OSError as error:
        raise SourceError(f"{redact(uri)} cannot be read: {error}") from error
