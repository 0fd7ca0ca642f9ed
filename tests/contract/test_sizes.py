"""Sizes in messages are height x width, as `--size` takes them."""

from __future__ import annotations

import re

from tests.conftest import ROOT

WRONG = re.compile(r"\{[^{}]*(\[1\]|width)[^{}]*\}x\{|width x height|WIDTHxHEIGHT", re.IGNORECASE)
CAMERAS = {"runtime/sources/uri.py", "runtime/sources/csi.py"}
"""What is asked of a camera is written as cameras and their drivers write it, and says so."""


def test_no_message_has_the_width_first() -> None:
    found = []
    for folder in ("crwedge", "runtime", "export"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name in CAMERAS or name.startswith(("crwedge/export/", "crwedge/runtime/")):
                continue
            found += [f"{name}: {line.strip()}" for line in path.read_text().splitlines() if WRONG.search(line)]
    assert found == []
