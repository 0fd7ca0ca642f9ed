"""Options of a video and settings of propagation as text in the columns of a table."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

from crwedge.batch.job import VIDEO_OPTIONS
from crwedge.core.errors import SettingError
from crwedge.core.images import parse_size
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.session_options import SessionOptions

_TYPES = {
    **{f.name: str(f.type) for f in fields(PropagationSettings)},
    **{f.name: str(f.type) for f in fields(SessionOptions) if f.name in VIDEO_OPTIONS},
}
SETTINGS = tuple(f.name for f in fields(PropagationSettings))
KNOWN = tuple(sorted(_TYPES))
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_value(name: str, value: Any) -> Any:
    """The value of an option from text, or as it is where it came from JSON.

    Raises:
        SettingError: an unknown name, or a value of another kind.
    """
    if name not in _TYPES:
        raise SettingError(f"unknown option {name!r}; known are {', '.join(KNOWN)}")
    kind = _TYPES[name]
    try:
        if name == "size":
            return list(parse_size(value)) if isinstance(value, str) else [int(part) for part in value]
        if not isinstance(value, str):
            return value
        if "None" in kind and value.lower() in ("none", "null"):
            return None
        if "bool" in kind:
            return _WORDS[value.lower()]
        if "int" in kind:
            return int(value)
        if "float" in kind:
            return math.inf if value.lower() in ("inf", "infinity") else float(value)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise SettingError(f"{name} is {json.dumps(value)}, which is not a {kind}") from error
    return value
