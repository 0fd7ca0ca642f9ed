"""A lock so that one process at a time builds an engine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from crwedge.core.errors import BundleError
from crwedge.core.optional import import_optional

_log = logging.getLogger("crwedge")


@contextlib.contextmanager
def build_lock(folder: Path, name: str) -> Iterator[bool]:
    """Hold the lock of the engine `name` in `folder`; yields whether another process held it before.

    The lock ends with its process, even if that is killed. A process that waited should look for the engine again.

    Raises:
        BundleError: the folder cannot be written.
    """
    filelock = import_optional("filelock", extra="tensorrt")
    lock = filelock.FileLock(folder / f".{name}.lock")
    waited = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _log.info("another process is building this engine; waiting for it")
            waited = True
            lock.acquire()
    except OSError as error:
        raise BundleError(f"cannot write to {folder} ({error.strerror}); make it writable") from error
    try:
        yield waited
    finally:
        lock.release()
