"""Where a batch keeps its results: one folder a video, which appears whole with its record or not at all.

The record, `NAME/result.json`, is what makes a video done. It comes into being in the same step as the results, so neither
can be there without the other, whichever process is killed when. The manifest is gathered from the records.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Protocol

from crwedge.core.errors import SinkError
from crwedge.core.json_text import parse_json

RECORD = "result.json"
MANIFEST = "manifest.jsonl"

Record = dict[str, Any]


class Results(Protocol):
    """The results of a batch."""

    where: str
    """Absolute path or URI."""

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Keep every other batch away; SettingError where another one is at work."""
        ...

    def attend(self) -> contextlib.AbstractContextManager[None]:
        """While the block runs, a worker is at work: a new batch waits for its end."""
        ...

    def workspace(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A folder of this machine for what is being written; it is gone after the block."""
        ...

    def commit(self, workspace: Path, record: Record) -> None:
        """Make the files of a workspace the results of `record["name"]`, in place of older ones."""
        ...

    def record_of(self, name: str) -> Record | None:
        """The record of a video that is done."""
        ...

    def read_manifest(self) -> list[Record]:
        """The lines of the manifest; none where there is no manifest."""
        ...

    def write_manifest(self, data: bytes) -> None:
        """Replace the manifest in one step."""
        ...


def parse_manifest(data: bytes) -> list[Record]:
    """The lines of a manifest.

    Raises:
        SinkError: a line is not a record.
    """
    try:
        lines = [parse_json(line) for line in data.decode().splitlines() if line.strip()]
        for line in lines:
            line["name"], line["state"]
    except (ValueError, TypeError, KeyError) as error:
        raise SinkError(f"{MANIFEST} was edited ({error}); remove it: it is made again") from error
    return lines
