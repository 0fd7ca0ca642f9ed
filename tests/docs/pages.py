"""What README and docs hold: Python snippets and command lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")


@dataclass(frozen=True)
class Piece:
    """A snippet or a command line."""

    page: str
    line: int
    text: str
    not_run: str = ""
    """Why it is not run; from `<!-- not run: REASON -->` above it."""

    def __str__(self) -> str:
        """Where it is."""
        return f"{self.page}:{self.line}"


def snippets() -> list[Piece]:
    """Fenced blocks of Python."""
    return [piece for page in PAGES for piece in _snippets_of(page)]


def commands() -> list[Piece]:
    """Lines of indented blocks that start with `crwedge`; continued lines are one."""
    return [piece for page in PAGES for piece in _commands_of(page)]


def _snippets_of(page: Path) -> Iterator[Piece]:
    lines = page.read_text(encoding="utf-8").split("\n")
    begin, why = None, ""
    for number, line in enumerate(lines):
        if found := _NOT_RUN.search(line):
            why = found[1]
        elif line.startswith("```"):
            if begin is not None:
                yield Piece(page.relative_to(ROOT).as_posix(), begin + 1, "\n".join(lines[begin:number]) + "\n", why)
                begin, why = None, ""
            elif line.startswith("```python"):
                begin = number + 1


def _commands_of(page: Path) -> Iterator[Piece]:
    lines = page.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        if not re.match(r" {4,}crwedge ", line):
            continue
        text, at = line.strip(), number
        while text.endswith("\\"):
            at += 1
            text = text[:-1].rstrip() + " " + lines[at].strip()
        # Two spaces and a hash begin a comment; a hash inside a word belongs to a source.
        yield Piece(page.relative_to(ROOT).as_posix(), number + 1, re.split(r"\s+#\s", text)[0].strip())
