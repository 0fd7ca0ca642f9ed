"""Every command line of README and docs has options that exist, and those that can run do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from crwedge.cli import COMMANDS, build_app, run
from crwedge.cli.settings_option import as_settings
from tests.docs.pages import Piece, commands

NOT_RUN = [
    (r"\bcamera\d|rtsp://|door\.toml|door#", "needs a camera"),
    (r"--engine tensorrt", "needs TensorRT and an NVIDIA GPU"),
    (r"crwedge (train|import)", "trains, or needs weights of others"),
    (r"crwedge (eval|study)", "needs the data of a benchmark"),
    (r"crwedge serve", "serves until it is stopped"),
    (r"crwedge (grab|paint|batch|convert|models add)", "needs files of the reader's own"),
    (r"crwedge export", "takes minutes and needs a run; docs/api.md has an export that is run"),
    (r"crwedge (check|demo)", "takes minutes on rendered scenes; tests/unit/cli runs them small"),
    (r"crwedge use (?!shipped)", "names an encoder of the reader's own"),
    (r"--target", "needs a target of the reader's own"),
    (r"--ttt", "trains in a process of its own for each window; tests/unit/adapt runs it small"),
]
LINES = commands()


def parsed(arguments: list[str]) -> list[str]:
    """Parse a command line as `crwedge` does, without running the command; the names of the commands."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    command: Any = typer.main.get_command(build_app(first if first in COMMANDS else None))
    names: list[str] = []
    rest, parent = arguments, None
    while True:
        context = command.make_context(names[-1] if names else "crwedge", list(rest), parent=parent)
        if not hasattr(command, "commands"):
            return names
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        parent = context


@pytest.fixture
def door(examples: Path) -> Path:
    (examples / "door.toml").write_text('source = ["clip.mp4"]\nmask = ["init.png"]\nmax-frames = 2\n')
    return examples


def test_there_are_lines() -> None:
    assert len(LINES) > 40


@pytest.mark.parametrize("piece", LINES, ids=str)
def test_the_options_exist(piece: Piece, door: Path) -> None:
    text = piece.text.removesuffix("&")
    assert not re.search(r"\[--|\.\.\.\s*$|[|]", text) or "VIDEOS..." in text, (
        f"{piece}: write a line that can be typed"
    )
    assert parsed(as_settings(shlex.split(text)[1:]))[0] in COMMANDS


@pytest.mark.parametrize("piece", LINES, ids=str)
def test_what_can_run_runs(piece: Piece, examples: Path) -> None:
    reason = next((why for pattern, why in NOT_RUN if re.search(pattern, piece.text)), None)
    if reason is not None:
        pytest.skip(reason)
    assert run(shlex.split(piece.text)[1:]) == 0
