"""JSON files that crwedge did not write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crwedge.core.json_text import parse_json
from crwedge.formats.annotation import FormatError

MOST_BYTES = 2**30
"""Of a file: it is read as a whole."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FormatError: it is not JSON, nested too deeply, or too large.
    """
    if path.stat().st_size > MOST_BYTES:
        raise FormatError(f"{path} is larger than {MOST_BYTES >> 30} GB; split it into fewer frames")
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path} is damaged or not JSON ({error})") from error
