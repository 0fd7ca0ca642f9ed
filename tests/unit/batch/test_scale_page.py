"""The tables of docs/scale.md are those of the figures that they come from."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scale import scale_tables

ROOT = Path(__file__).parents[3]


def test_the_page_holds_the_tables_of_the_figures() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    for line in scale_tables().splitlines():
        assert line in page, f"python benchmarks/scale.py has another line: {line}"
