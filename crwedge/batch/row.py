"""A row: a video, its mask, and what is asked for this video alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crwedge.core.errors import SettingError


@dataclass(frozen=True)
class Row:
    """One video of a plan."""

    name: str
    video: str
    """Absolute path or URI."""
    mask: str = ""
    """Absolute path or URI; empty where there is none."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options and settings of this video alone; see `option_values.KNOWN`."""
    model: str | None = None
    model_sha256: str = ""
    source_sha256: str = ""
    mask_sha256: str = ""
    engine: str | None = None
    save: tuple[str, ...] = ()
    """Outputs of this video; empty: those of the batch."""
    problem: str = ""
    """Why it cannot be followed; empty where nothing is known against it."""


def name_of(stem: str) -> str:
    """The name of the video at a relative path without its suffix."""
    return "/".join(part for part in stem.replace("\\", "/").split("/") if part not in ("", "."))


def check_names(rows: Sequence[Row]) -> None:
    """Refuse names that would write results over each other, or outside the folder of the batch.

    Raises:
        SettingError: with the cure.
    """
    seen: dict[str, str] = {}
    for row in rows:
        parts = row.name.split("/")
        if any(part in ("", "..") or part.startswith(".") or len(part.encode()) > 200 for part in parts):
            raise SettingError(
                f"{row.name!r} is not a name for results: each part needs 1 to 200 bytes and no dot at its start (column name)"
            )
        if row.name in seen:
            raise SettingError(
                f"{seen[row.name]} and {row.video} are both called {row.name}: give a table with a column name"
            )
        seen[row.name] = row.video
    for name, video in seen.items():
        parts = name.split("/")
        for length in range(1, len(parts)):
            if (outer := "/".join(parts[:length])) in seen:
                raise SettingError(
                    f"the results of {video} ({name}) would lie inside those of {seen[outer]} ({outer}): "
                    "give a table with a column name"
                )
