"""Every Python snippet of README and docs runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import crwedge as cw
from tests.docs.pages import PAGES, ROOT, Piece, snippets

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A snippet may configure logging."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("piece", snippets(), ids=str)
def test_a_snippet_runs(piece: Piece, examples: Path) -> None:
    code = compile(piece.text, str(piece), "exec")
    if piece.not_run:
        pytest.skip(piece.not_run)
    if re.search("export_bundle|TestTimeTrainer|fit|TrainConfig", piece.text):
        pytest.importorskip("torch")
    exec(code, {"__name__": "snippet"})


def test_no_python_stands_outside_of_fences() -> None:
    for page in PAGES:
        outside = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
        assert not re.search(r"(?m)^ +(import crwedge|from crwedge|with cw\.|session = )", outside), page


def test_the_api_page_lists_every_public_name_once() -> None:
    listed = re.findall(r"(?m)^### `(.+)`$", API)
    assert sorted(listed) == sorted(cw.__all__)


@pytest.mark.parametrize("name", cw.__all__)
def test_every_public_name_has_an_example_that_uses_it(name: str) -> None:
    section = API.split(f"### `{name}`\n")[1].split("\n### ")[0]
    code = "".join(re.findall(r"(?s)```python\n(.*?)```", section))
    assert re.search(rf"\b{re.escape(name)}\b", code), name
