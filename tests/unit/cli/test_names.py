"""Settings have one name in Python and on the command line."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import typer

from crwedge.cli import build_app
from crwedge.core.settings import PropagationSettings

ELSEWHERE = {"context_spacing", "labels", "margin", "max_pinned", "output_norm", "prefill", "topk_over", "window"}
"""Parts of a preset that `track` has no option for."""


@pytest.mark.parametrize("name", [field.name for field in fields(PropagationSettings)])
def test_track_has_an_option_of_the_same_name(name: str) -> None:
    command: Any = typer.main.get_command(build_app("track"))
    options = {word for parameter in command.commands["track"].params for word in parameter.opts}
    assert (f"--{name.replace('_', '-')}" in options) is (name not in ELSEWHERE)
