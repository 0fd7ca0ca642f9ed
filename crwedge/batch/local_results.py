"""Results in a folder of this machine, or of a file system that several machines share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crwedge.batch.results import MANIFEST, RECORD, Record, parse_manifest
from crwedge.core.errors import SinkError
from crwedge.core.files import atomic_write, replace_folder, sync_folder
from crwedge.core.json_text import parse_json

_OWN = ".crwedge"
"""Folder of the batch's own files: locks, and results that are being written."""
_ORPHANS_S = 60.0
"""Seconds to wait for workers of a batch that was killed. They end by themselves at once."""


class LocalResults:
    """Results in a folder; see `Results`.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)
        self._own = root / _OWN
        self._parts = self._own / "parts"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See `Results.hold`. The lock goes with the process that holds it, even if that is killed."""
        import filelock

        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            (self._own / "workers").mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot write results to {self.root} ({error.strerror}); choose another --out") from error
        try:
            lock = filelock.FileLock(self._own / "batch.lock", timeout=0)
            lock.acquire()
        except filelock.Timeout as error:
            raise SinkError(f"another batch is running in {self.root}: wait for it, or choose another --out") from error
        try:
            self._wait_for_orphans()
            self._clear()
            try:
                yield
            finally:
                self._clear()
        finally:
            lock.release()

    @contextlib.contextmanager
    def attend(self) -> Iterator[None]:
        """See `Results.attend`."""
        import filelock

        path = self._own / "workers" / f"{socket.gethostname()}-{os.getpid()}.lock"
        with filelock.FileLock(path, timeout=0):
            yield
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """See `Results.workspace`. It lies on the same file system, so that a rename moves it."""
        prefix = f"{name.replace('/', '-')[-60:]}.{os.getpid()}."
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self._parts))
        except OSError as error:
            raise SinkError(f"cannot write results to {self.root} ({error.strerror})") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, workspace: Path, record: Record) -> None:
        """See `Results.commit`: everything is flushed to the disk, then one rename makes it the result."""
        target = self.root / record["name"]
        new = workspace / "new"
        try:
            for file in list(new.rglob("*")):
                _flush(file)
            with atomic_write(new / RECORD) as out:
                out.write(json.dumps(record, indent=1).encode() + b"\n")
            target.parent.mkdir(parents=True, exist_ok=True)
            # mkdtemp made a private folder; results are as any other folder.
            replace_folder(new, target)
            sync_folder(target.parent)
        except OSError as error:
            raise SinkError(f"cannot write the results {target}: {error.strerror or error}") from error

    def record_of(self, name: str) -> Record | None:
        """See `Results.record_of`."""
        try:
            found = parse_json((self.root / name / RECORD).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("name") == name else None

    def read_manifest(self) -> list[Record]:
        """See `Results.read_manifest`."""
        try:
            return parse_manifest((self.root / MANIFEST).read_bytes())
        except FileNotFoundError:
            return []

    def write_manifest(self, data: bytes) -> None:
        """See `Results.write_manifest`."""
        try:
            with atomic_write(self.root / MANIFEST) as file:
                file.write(data)
        except OSError as error:
            raise SinkError(f"cannot write {self.root / MANIFEST}: {error.strerror or error}") from error

    def _clear(self) -> None:
        """Remove what workers that were killed have left."""
        for remains in self._parts.iterdir():
            shutil.rmtree(remains, ignore_errors=True)

    def _wait_for_orphans(self) -> None:
        """Wait for the workers of a batch that was killed, so that two processes never work on one video."""
        import filelock

        for path in (self._own / "workers").glob("*.lock"):
            try:
                with filelock.FileLock(path, timeout=_ORPHANS_S):
                    path.unlink(missing_ok=True)
            except filelock.Timeout as error:
                raise SinkError(f"worker {path.stem} of a batch that was killed is still running: end it") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
