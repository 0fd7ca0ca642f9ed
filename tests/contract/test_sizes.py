"""Sizes are height x width everywhere: in messages, in `--size`, and in `#size=` of a camera."""

from __future__ import annotations

import re

import pytest

import crwedge as cw
from crwedge.core.errors import SourceError
from crwedge.runtime.sources.uri import camera_size, parse_source_options
from tests.conftest import ROOT

WRONG = re.compile(r"\{[^{}]*(\[1\]|width)[^{}]*\}x\{|width x height|WIDTHxHEIGHT", re.IGNORECASE)
DRIVERS = 'options["video_size"] = '
"""FFmpeg's own option."""


def test_no_message_has_the_width_first() -> None:
    found = []
    for folder in ("crwedge", "runtime", "export"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith(("crwedge/export/", "crwedge/runtime/")):
                continue
            lines = [line.strip() for line in path.read_text().splitlines() if DRIVERS not in line]
            found += [f"{name}: {line}" for line in lines if WRONG.search(line)]
    assert found == []


def test_the_size_of_a_camera_is_height_x_width() -> None:
    assert parse_source_options("v4l2:///dev/video0#size=480x640")[1] == {"size": "480x640"}
    assert camera_size("720x1280") == (720, 1280)
    for wrong, cure in (("640x480", "size=480x640"), ("0x480", "HEIGHTxWIDTH")):
        with pytest.raises(SourceError, match=cure):
            cw.open_source(f"v4l2:///dev/video99#size={wrong}")
