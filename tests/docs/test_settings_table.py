"""The table of settings in the docs is that of the code."""

from __future__ import annotations

from tests.docs.settings_table import PAGE, page_with_table


def test_the_table_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with_table(text) == text, "run `python -m tests.docs.settings_table`"
