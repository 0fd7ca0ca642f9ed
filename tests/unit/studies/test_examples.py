"""The examples in the docstrings of the public functions of training, scoring and studies run as they are."""

from __future__ import annotations

import doctest
import logging
from pathlib import Path

import pytest

import crwedge


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fit", "evaluate", "run_study"])
def test_the_example_runs(name: str, davis_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "DAVIS").symlink_to(davis_tree, target_is_directory=True)
    monkeypatch.setattr(logging.getLogger("crwedge"), "disabled", True)
    text = getattr(crwedge, name).__doc__
    examples = doctest.DocTestParser().get_examples(text)
    assert len(examples) >= 2
    source = "".join(example.source for example in examples)
    exec(compile(source, name, "exec"), {})
