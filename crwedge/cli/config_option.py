"""`--config FILE.toml`: options of a command from a file, under their own names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from crwedge.core.errors import SettingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_options(path: Path, parameters: list[Any]) -> dict[str, Any]:
    """Values of a command's parameters from a TOML file; keys are the options' long names, `max-frames` or `max_frames`.

    Args:
        path: the file.
        parameters: of the command, as Click keeps them.

    Returns:
        Name of the parameter -> its value.

    Raises:
        SettingError: the file is missing or no TOML, a key is unknown, or a value is of the wrong kind.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"the configuration {path} cannot be read: {reason}") from error
    known = {key: parameter for parameter in parameters for key in _keys(parameter)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise SettingError(f"{path}: unknown key {key!r}; known ones are {', '.join(sorted(known))}")
        parameter = known[name]
        found[parameter.name] = _checked(f"{path}: {key}", value, parameter)
    return found


def apply_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of an eager option: what stands in the file is the default of what the command line leaves out."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_options(path, context.command.params)}
    return path


def _keys(parameter: Any) -> list[str]:
    """`--max-frames` -> `max-frames`; of an argument its name. Options without a value to keep have no key."""
    if parameter.name in ("config", "help"):
        return []
    if parameter.param_type_name == "argument":
        return [parameter.name]
    return [word.removeprefix("--") for word in parameter.opts if word.startswith("--")]


def _checked(where: str, value: Any, parameter: Any) -> Any:
    several = getattr(parameter, "multiple", False) or parameter.nargs != 1
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not several:
        raise SettingError(f"{where} takes one value, not a list")
    for one in values:
        if isinstance(one, dict) or not isinstance(one, str | int | float | bool):
            raise SettingError(f"{where} is a {type(one).__name__}; write text, a number, true or false")
        if isinstance(one, bool) != bool(getattr(parameter, "is_flag", False)):
            raise SettingError(
                f"{where} is {one!r}, which is {'no' if not isinstance(one, bool) else 'a'} true or false"
            )
    return list(values) if several else value
