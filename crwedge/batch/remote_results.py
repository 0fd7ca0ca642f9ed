"""Results on storage that has no rename and no locks, such as `s3://` and `gs://`, through fsspec.

An object of such storage appears whole or not at all. The record of a video is written last and removed first, so a folder
without one holds results that are not finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crwedge.batch.results import MANIFEST, RECORD, Record, parse_manifest
from crwedge.core.errors import SinkError
from crwedge.core.json_text import parse_json
from crwedge.core.remote import filesystem
from crwedge.runtime.sources.uri import redact

_LEASE = ".crwedge-batch.json"
_LEASE_S = 120.0
"""Seconds after which the lease of a batch that says nothing more is taken over."""


class RemoteResults:
    """Results below a URI.

    Args:
        uri: of the folder.
    """

    def __init__(self, uri: str) -> None:
        self.where = uri.rstrip("/")
        self._fs, self._root = filesystem(self.where)
        self._leased = 0.0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See `Results.hold`.

        Such storage has no locks. A lease that is renewed with the manifest keeps a second batch away, unless both begin in
        the same instant; after a kill the next batch takes it over when it is two minutes old, or at once on the same machine.
        """
        found = self._read(_LEASE)
        if found is not None:
            age, host, pid = self._parse_lease(found)
            if age < _LEASE_S and not (host == socket.gethostname() and not _alive(pid)):
                raise SinkError(
                    f"another batch on {host} wrote to {redact(self.where)} {age:.0f} seconds ago: wait for it, or "
                    f"for {_LEASE_S:.0f} seconds where it was killed"
                )
        self._renew()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._fs.rm(f"{self._root}/{_LEASE}")

    @contextlib.contextmanager
    def attend(self) -> Iterator[None]:
        """See `Results.attend`: workers of a batch that was killed end with it, or their Ray cluster ends them."""
        yield

    @contextlib.contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """See `Results.workspace`."""
        with tempfile.TemporaryDirectory(prefix=f"crwedge-{name.replace('/', '-')[-60:]}.{os.getpid()}.") as folder:
            yield Path(folder)

    def commit(self, workspace: Path, record: Record) -> None:
        """See `Results.commit`."""
        target, new = f"{self._root}/{record['name']}", workspace / "new"
        try:
            if self._fs.exists(f"{target}/{RECORD}"):
                self._fs.rm(f"{target}/{RECORD}")
            if self._fs.exists(target):
                self._fs.rm(target, recursive=True)
            for file in sorted(path for path in new.rglob("*") if path.is_file()):
                to = f"{target}/{file.relative_to(new).as_posix()}"
                self._fs.makedirs(to.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(file), to)
            self._write(f"{record['name']}/{RECORD}", json.dumps(record, indent=1).encode() + b"\n")
        except OSError as error:
            raise SinkError(f"cannot write results to {redact(self.where)}/{record['name']}: {error}") from error

    def record_of(self, name: str) -> Record | None:
        """See `Results.record_of`."""
        data = self._read(f"{name}/{RECORD}")
        try:
            found: Any = parse_json(data) if data is not None else None
        except ValueError:
            return None
        return found if isinstance(found, dict) and found.get("name") == name else None

    def read_manifest(self) -> list[Record]:
        """See `Results.read_manifest`."""
        data = self._read(MANIFEST)
        return parse_manifest(data) if data is not None else []

    def write_manifest(self, data: bytes) -> None:
        """See `Results.write_manifest`."""
        self._write(MANIFEST, data)
        if time.time() - self._leased > _LEASE_S / 4:
            self._renew()

    def _renew(self) -> None:
        self._leased = time.time()
        lease = {"host": socket.gethostname(), "pid": os.getpid(), "time": self._leased}
        self._write(_LEASE, json.dumps(lease).encode())

    def _parse_lease(self, data: bytes) -> tuple[float, str, int]:
        """Its age in seconds, and the host and process that wrote it."""
        try:
            lease = parse_json(data)
            return time.time() - float(lease["time"]), str(lease["host"]), int(lease["pid"])
        except (ValueError, TypeError, KeyError) as error:
            where = f"{redact(self.where)}/{_LEASE}"
            raise SinkError(f"{where} is damaged ({error}); remove it where no other batch writes there") from error

    def _read(self, name: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SinkError(f"{redact(self.where)}/{name} cannot be read: {error}") from error

    def _write(self, name: str, data: bytes) -> None:
        try:
            path = f"{self._root}/{name}"
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)
        except OSError as error:
            raise SinkError(f"cannot write {redact(self.where)}/{name}: {error}") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
