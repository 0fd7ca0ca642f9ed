"""Built engines on disk: `<key>.engine` and `<key>.json`.

An engine is executable code. It is loaded only if its key fits the device, it belongs to this user or to root, nobody else can
write to it, and its hash is right. The hash is computed from the bytes that are returned.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crwedge.core.engine_key import EngineKey, Size, mismatch
from crwedge.core.errors import BundleError
from crwedge.core.files import atomic_write, sha256
from crwedge.core.json_text import parse_json

FACTS_VERSION = 1

_log = logging.getLogger("crwedge")


@dataclass(frozen=True)
class EngineFacts:
    """Contents of `<key>.json`."""

    key: EngineKey
    sha256: str
    """Hash of the engine."""
    refittable: bool
    device: str
    """Name of the GPU that the engine was built on or for."""
    crwedge_version: str
    format_version: int = FACTS_VERSION


@dataclass(frozen=True)
class FoundEngine:
    """An engine that fits, with its verified contents."""

    path: Path
    facts: EngineFacts
    data: bytes
    """The bytes to deserialise; do not read `path` again."""


def engine_folders(bundle: Path, home: Path) -> tuple[Path, Path]:
    """Folders that may hold engines of a bundle, in order: its own, and one in the user's data folder `home`."""
    return bundle / "engines", home / "engines"


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Path of the engine of `key` in `folder`."""
    return folder / f"{key.name}.engine"


def find_engine(folders: Sequence[Path], wanted: EngineKey, size: Size | None = None) -> FoundEngine | None:
    """The first engine in `folders` that fits, or None; then each engine that was skipped is logged, with the reason.

    Args:
        folders: searched in this order; missing ones are skipped.
        wanted: key for this graph and device.
        size: (H, W) of the frame; None: the profile must be the wanted one.

    Raises:
        BundleError: an engine that fits was changed, or others can write to it.
    """
    skipped: list[str] = []
    for folder in folders:
        for facts_path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            path = facts_path.with_suffix(".engine")
            try:
                facts = _read_facts(facts_path)
            except BundleError as error:
                skipped.append(f"{path.name} ignored: {error}")
                continue
            if facts_path.stem != facts.key.name:
                skipped.append(f"{path.name} ignored: it was renamed, its description is of {facts.key.name}")
                continue
            reason = mismatch(facts.key, wanted, size)
            if reason is None:
                return FoundEngine(path, facts, _read_checked(path, facts))
            skipped.append(f"{path.name} ignored: {reason}")
    for line in skipped:
        _log.info("engine %s", line)
    return None


def write_engine(folder: Path, facts: EngineFacts, data: bytes) -> Path:
    """Write an engine and then its description, each atomically; BundleError when the folder cannot be written."""
    path = engine_path(folder, facts.key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
        path.chmod(0o644)
        text = json.dumps(asdict(facts), indent=1, sort_keys=True) + "\n"
        # Last, because an engine without facts is ignored.
        with atomic_write(path.with_suffix(".json")) as file:
            file.write(text.encode())
    except OSError as error:
        raise BundleError(
            f"cannot write an engine to {folder} ({error.strerror}); free space or change its owner"
        ) from error
    return path


def _read_facts(path: Path) -> EngineFacts:
    try:
        values: Any = parse_json(path.read_text(encoding="utf-8"))
        if values["format_version"] != FACTS_VERSION:
            raise BundleError(f"its description has version {values['format_version']!r}, not {FACTS_VERSION}")
        values["key"] = EngineKey.from_dict(values["key"])
        return EngineFacts(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"its description cannot be read ({error}); build the engine again") from error


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
