"""The table of `--set` in docs/configuration.md. `python -m tests.docs.settings_table` writes it."""

from __future__ import annotations

from crwedge.cli.settings_option import table_of
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "configuration.md"
BEGIN, END = "<!-- settings of track -->\n", "<!-- end of settings -->"


def table() -> str:
    """Every key with its default and meaning, as a table of Markdown."""
    found = table_of("track")
    assert found is not None
    rows = [f"| `{one.key}` | {one.default} | {one.doc} |" for one in found.settings.values()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def page_with_table(text: str) -> str:
    """The page with the table of now."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
