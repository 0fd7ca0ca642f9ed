"""Settings have one name in Python and on the command line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from crwedge.cli import build_app, run
from crwedge.cli.settings_option import as_settings
from crwedge.core.settings import PropagationSettings


@pytest.mark.parametrize("name", [field.name for field in fields(PropagationSettings)])
def test_track_has_an_option_of_the_same_name(name: str) -> None:
    """An option in the help, or a key of `--set`, which may be written as an option too."""
    command: Any = typer.main.get_command(build_app("track"))
    options = {word for parameter in command.commands["track"].params for word in parameter.opts}
    option = f"--{name.replace('_', '-')}"
    assert (option in options) is not (as_settings(["track", f"{option}=1"]) == ["track", "--set", f"{option[2:]}=1"])


@pytest.mark.parametrize("arguments", [["track", ""], ["track", "clip", "--mask", ""], ["track", "clip", "--out="]])
def test_an_empty_argument_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "is empty; is a variable of the shell not set?" in capsys.readouterr().err


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x" * 300, "x" * 300 + ".png"):
        assert run(["track", str(tmp_path / name), "--mask", str(tmp_path / name)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
