"""The tables of docs/scale.md are those of the figures that they come from."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scale import scale_tables, with_tables

ROOT = Path(__file__).parents[3]


def test_the_page_holds_the_tables_of_the_figures() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    for line in scale_tables().splitlines():
        assert line in page, f"python benchmarks/scale.py has another line: {line}"


def test_tables_are_put_in_the_place_of_the_old_ones() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    assert with_tables(page, scale_tables()) == page
    other = scale_tables().replace("| processors, at a load of 0.8 | ", "| processors, at a load of 0.8 | 7")
    changed = with_tables(page, other)
    assert changed != page
    assert with_tables(changed, scale_tables()) == page
