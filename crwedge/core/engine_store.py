"""Built engines on the disk: `<key>.engine` beside `<key>.json`.

An engine is executable code. It is given out only when its facts fit the device, it belongs to this user or to root,
nobody else may write to it, and its hash holds, computed from the very bytes that are handed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crwedge.core.engine_key import EngineKey, Size, mismatch
from crwedge.core.errors import BundleError
from crwedge.core.files import atomic_write, sha256

FACTS_VERSION = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class EngineFacts:
    """What stands in `<key>.json`."""

    key: EngineKey
    sha256: str
    """Of the engine's bytes."""
    refittable: bool
    device: str
    """Name of the GPU it was built on, or of what it was built for."""
    crwedge_version: str
    format_version: int = FACTS_VERSION


@dataclass(frozen=True)
class FoundEngine:
    """An engine that fits, read and checked."""

    path: Path
    facts: EngineFacts
    data: bytes
    """What is to be deserialised; never read the path again."""


def engine_folders(bundle: Path, home: Path) -> tuple[Path, Path]:
    """Where engines of a bundle are looked for, in this order: beside it, and in the user's data folder `home`."""
    return bundle / "engines", home / "engines"


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Where the engine of `key` stands in `folder`."""
    return folder / f"{key.name}.engine"


def find_engine(
    folders: Sequence[Path], wanted: EngineKey, size: Size | None = None, say: Say = lambda _: None
) -> FoundEngine | None:
    """The first engine in `folders` that fits, or None.

    Args:
        folders: in this order; those that do not exist are passed over.
        wanted: of this graph on this device.
        size: the frame's (H, W); None asks for exactly the wanted profile.
        say: told, in one line each, why an engine was left alone.

    Raises:
        BundleError: an engine that claims to fit was changed, or someone else could have changed it.
    """
    for folder in folders:
        for facts_path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            path = facts_path.with_suffix(".engine")
            try:
                facts = _read_facts(facts_path)
            except BundleError as error:
                say(f"engine {path.name} left alone: {error}")
                continue
            if facts_path.stem != facts.key.name:
                say(f"engine {path.name} left alone: it was renamed, its facts are of {facts.key.name}")
                continue
            reason = mismatch(facts.key, wanted, size)
            if reason is None:
                return FoundEngine(path, facts, _read_checked(path, facts))
            say(f"engine {path.name} left alone: {reason}")
    return None


def write_engine(folder: Path, facts: EngineFacts, data: bytes) -> Path:
    """Write an engine and then its facts, each whole or not at all; BundleError when the folder cannot be written."""
    path = engine_path(folder, facts.key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
        path.chmod(0o644)
        text = json.dumps(asdict(facts), indent=1, sort_keys=True) + "\n"
        # Last: an engine without facts is never looked at.
        with atomic_write(path.with_suffix(".json")) as file:
            file.write(text.encode())
    except OSError as error:
        raise BundleError(
            f"cannot write an engine to {folder} ({error.strerror}); free space or change its owner"
        ) from error
    return path


@contextlib.contextmanager
def build_lock(folder: Path, name: str, say: Say = lambda _: None, poll_s: float = 0.2) -> Iterator[bool]:
    """Let one process at a time build the engine `name` in `folder`; yields whether this one had to wait.

    The lock ends with the process, however it ends. Who had to wait looks for the engine again before building it.

    Raises:
        BundleError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / f".{name}.lock", "w")  # noqa: SIM115 - closed below, after the block
    except OSError as error:
        raise BundleError(f"cannot write to {folder} ({error.strerror}); make it writable") from error
    with file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    say("another process is building this engine; waiting for it")
                waited = True
                time.sleep(poll_s)
        yield waited


def _read_facts(path: Path) -> EngineFacts:
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] != FACTS_VERSION:
            raise BundleError(f"its facts have version {values['format_version']!r}, not {FACTS_VERSION}")
        values["key"] = EngineKey.from_dict(values["key"])
        return EngineFacts(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"its facts cannot be read ({error}); build the engine again") from error


def _read_checked(path: Path, facts: EngineFacts) -> bytes:
    try:
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            data = file.read()
        parent = path.parent.stat()
    except OSError as error:
        raise BundleError(f"the engine {path} cannot be read ({error.strerror}); build it again") from error
    for what, status in ((path, state), (path.parent, parent)):
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise BundleError(
                f"others may write to {what}, and an engine is executable code; take it over with "
                f"`chown $USER {what} && chmod go-w {what}`, or delete it and build the engine again"
            )
    if sha256(data) != facts.sha256:
        raise BundleError(
            f"the engine {path} was changed or damaged (its SHA-256 differs); delete it and build it again"
        )
    return data
