"""JSON of strangers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crwedge.formats.annotation import FormatError

MOST_BYTES = 2**30
"""Of a file: it is read as a whole."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FormatError: it is no JSON, nested too deeply, or too large.
    """
    if path.stat().st_size > MOST_BYTES:
        raise FormatError(f"{path} is larger than {MOST_BYTES >> 30} GB; split it into fewer frames")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is damaged or no JSON ({error})") from error
