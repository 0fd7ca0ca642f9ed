"""Public dataclasses: `help()` says what each field means, and `repr` is one short line."""

from __future__ import annotations

import pydoc
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.bundle import Manifest
from crwedge.core.described import described
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.tracker_options import TrackerOptions

PUBLIC = [
    cw.Bundle, cw.Frame, cw.LabelMap, cw.PropagationSettings, cw.TestTimeSettings, Manifest, SessionOptions,
    TrackerOptions,
]  # fmt: skip


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_help_shows_every_field(cls: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(cls))
    for item in fields(cls):
        assert f"     {item.name}: " in text


def test_colour_order_is_said_where_pixels_come_in() -> None:
    for thing in (cw.Frame, cw.LabelMap, cw.Tracker.step, cw.propagate):
        assert "RGB" in (thing.__doc__ or "")


@described
@dataclass(frozen=True)
class Example:
    """An example."""

    size: tuple[int, int]
    """(H, W)."""
    pixels: np.ndarray | None = None
    words: dict[str, str] = field(default_factory=dict)
    same: float = 1.0


def test_repr_is_short() -> None:
    assert repr(Example((3, 4))) == "Example(size=(3, 4))"
    full = Example((3, 4), np.zeros((480, 854, 3), np.uint8), {"a": "b" * 500}, 2.0)
    assert repr(full).startswith("Example(size=(3, 4), pixels=uint8 (480, 854, 3), words={'a': 'bbb")
    assert repr(full).endswith("..., same=2.0)")
    assert len(repr(full)) < 160
    assert repr(cw.PropagationSettings(topk=5)) == "PropagationSettings(topk=5)"


def test_a_label_map_prints_in_a_line() -> None:
    labels = cw.LabelMap(np.zeros((480, 854), np.uint8), 3, (1,), np.zeros((2, 60, 107), np.float32))
    assert repr(labels) == "LabelMap(ids=uint8 (480, 854), index=3, object_ids=(1,), soft=float32 (2, 60, 107))"
