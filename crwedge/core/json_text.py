"""JSON that crwedge did not write."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; numbers are finite, or NaN.

    Raises:
        ValueError: it is not JSON, nested too deeply, or holds a number that is too large.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_int=_integer, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(word: str) -> float:
    value = float(word)
    if math.isinf(value):
        raise ValueError(
            f"the number {word[:20]}... is too large" if len(word) > 20 else f"the number {word} is too large"
        )
    return value


def _integer(word: str) -> int:
    # One that no float holds would stop whoever computes with it. It has more than 308 digits: few numbers are looked at.
    if len(word) > 308:
        _finite(word)
    return int(word)
