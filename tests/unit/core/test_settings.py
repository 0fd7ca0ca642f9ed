"""Settings refuse what cannot be, and presets are the published protocols."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from crwedge.core.errors import SettingError
from crwedge.core.images import parse_size
from crwedge.core.settings import PRESETS, PropagationSettings, preset


@pytest.mark.parametrize(
    "bad",
    [
        {"topk": 0}, {"topk": 2.5}, {"topk": True}, {"radius": 0}, {"radius": math.nan}, {"temperature": 0},
        {"temperature": math.inf}, {"window": "round"}, {"first_frame": "none"}, {"topk_over": "all"},
        {"context_length": -1}, {"storage": "int8"}, {"output_norm": "softmax"}, {"max_pinned": 0},
    ],
)  # fmt: skip
def test_bad_values_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(bad))):
        PropagationSettings(**bad)


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name: str) -> None:
    values = json.loads(json.dumps(preset(name).to_dict(), allow_nan=False))
    assert PropagationSettings.from_dict(values) == preset(name)


def test_infinite_radius_round_trips() -> None:
    everywhere = PropagationSettings(radius=math.inf)
    assert not everywhere.local
    assert PropagationSettings.from_dict(json.loads(json.dumps(everywhere.to_dict()))) == everywhere


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SettingError, match="unknown preset 'x'"):
        preset("x")
    with pytest.raises(SettingError, match="unknown setting 'k'"):
        PropagationSettings.from_dict({"k": 3})


def test_sizes() -> None:
    assert parse_size("480x854") == (480, 854)
    for bad in ("480", "x", "480x", "0x10", "480x-3", "99999x480", "480 x 854"):
        with pytest.raises(SettingError, match="HEIGHTxWIDTH"):
            parse_size(bad)
