"""What a session writes, checked before anything is written: against each other, and against what is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crwedge.core.errors import SinkError
from crwedge.core.files import check_writable
from crwedge.formats.open import split_format
from crwedge.runtime.ops.snapshot import is_snapshot
from crwedge.runtime.session_options import SessionOptions

Named = tuple[str, Any]
"""An option, and the path that it was given; anything that is no path does not count."""


def check_written(
    options: SessionOptions, outputs: Sequence[str | Path] | None, source: object, prompt: object, log: object = None
) -> None:
    """Refuse two outputs of one file, outputs over an input, and state files that cannot be written.

    A snapshot replaces an earlier snapshot, and other files only with `overwrite`.

    Raises:
        SinkError: with the cure.
    """
    files = [("--snapshot", options.snapshot), ("--set save-target", options.save_target)]
    for name, path in files:
        if path is not None:
            if os.path.isdir(path):
                raise SinkError(f"{name} {path} is a folder; name a file in it")
            if os.path.exists(path) and not os.path.isfile(path):
                raise SinkError(f"{name} {path} is not a regular file; choose another name")
            check_writable(Path(path))
    targets = [("--out", place) for place in outputs or ()]
    control = options.control if options.control is None or "://" not in str(options.control) else None
    inputs = [("--mask", prompt), ("the source", source), ("--set control", control)]
    inputs += [("--target", target) for target in options.targets]
    check_distinct([*targets, *files, ("--set log", log)], inputs)
    kept = options.snapshot
    # Where a run resumes, reading the snapshot is the stricter check.
    if (
        kept is not None
        and not options.resume
        and not options.overwrite
        and os.path.exists(kept)
        and not is_snapshot(kept)
    ):
        raise SinkError(f"--snapshot {kept} exists and is not a snapshot; choose another name, or add --overwrite")


def check_distinct(written: Iterable[Named], read: Iterable[Named]) -> None:
    """SinkError where two of `written`, or one of them and one of `read`, are one file."""
    taken = {_identity(path): f"{name} {path}" for name, path in read if isinstance(path, str | Path)}
    inputs = set(taken)
    for name, path in written:
        if not isinstance(path, str | Path):
            continue
        place = _identity(path)
        if place in inputs:
            raise SinkError(f"{name} {path} would replace {taken[place]}; choose another")
        if place in taken:
            raise SinkError(f"{name} {path} and {taken[place]} are the same place; choose another for one of them")
        taken[place] = f"{name} {path}"


def _identity(path: str | Path) -> str:
    text = str(path)
    if text in ("-", "window") or text.startswith(("mqtt://", "mqtts://")):
        return text
    return os.path.realpath(split_format(text)[0])
