"""Broken inputs are refused in one line by every parser; `python -m tests.fuzz` feeds a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from crwedge.core.json_text import parse_json
from tests.fuzz import Parser, parsers, run


@pytest.fixture(scope="module")
def every() -> dict[str, Parser]:
    return parsers()


def test_good_inputs_are_not_refused(every: dict[str, Parser], tmp_path: Path) -> None:
    for name, parser in every.items():
        for seed in parser.seeds if name not in ("manifest", "ONNX header") else ():
            parser.feed(tmp_path, seed)


@pytest.mark.parametrize(
    "name", ["mask", "manifest", "ONNX header", "tensors", "snapshot", "target", "joints", "command"]
)
def test_broken_inputs(every: dict[str, Parser], name: str, tmp_path: Path) -> None:
    out = run(every[name], 150, seed=1, folder=tmp_path)
    assert not out.failures
    assert out.refused > 0


@pytest.mark.parametrize("name", ["source", "names", "COCO", "CVAT", "recipe"])
def test_broken_words(every: dict[str, Parser], name: str, tmp_path: Path) -> None:
    out = run(every[name], 300, seed=2, folder=tmp_path)
    assert not out.failures
    assert out.refused > 0


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1e999}', "[Infinity]", "", "nothing"])
def test_json_that_no_program_writes(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
