"""Help: light, complete, with an example for every command."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from crwedge.cli import COMMANDS, run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert name in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, attribute = COMMANDS[name].split(":")
    command: Any = getattr(import_module(module), attribute)
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    if callable(getattr(command, "command", None)):  # a group: its commands carry the examples
        for inner in command.registered_commands:
            assert "Example: crwedge" in (inner.callback.__doc__ or ""), inner.callback
    else:
        assert "Example: crwedge" in " ".join(shown.split())


def test_no_arguments_shows_help_and_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-m", "crwedge"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage: crwedge" in done.stdout + done.stderr


def test_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dance"]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert "dance" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("crwedge ")
