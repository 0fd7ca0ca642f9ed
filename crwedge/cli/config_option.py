"""`--config FILE.toml`: options and settings of a command from a file, under their own names."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crwedge.core.errors import SettingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from crwedge.cli.settings_option import SettingTable

_FROM_FILE = "crwedge.settings"
"""Where the context keeps the settings of the file, as `key=value`."""


def read_options(path: Path, parameters: list[Any], table: SettingTable | None) -> tuple[dict[str, Any], list[str]]:
    """Values of a command's parameters from a TOML file; keys are long names of options or settings, with - or _.

    Args:
        path: the file.
        parameters: of the command, as Click keeps them.
        table: what `--set` of the command takes.

    Returns:
        Name of the parameter -> its value, and the settings as `key=value`.

    Raises:
        SettingError: the file is missing or no TOML, a key is unknown, or a value is of the wrong kind.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8, as TOML has to be"
        raise SettingError(f"the configuration {path} cannot be read: {reason}") from error
    known = {key: parameter for parameter in parameters for key in _keys(parameter)}
    found: dict[str, Any] = {}
    words: list[str] = []
    for key, value in values.items():
        name = key.replace("_", "-")
        where = f"{path}: {key}"
        setting = table.find(name) if table is not None else None
        if name in known:
            several = getattr(known[name], "multiple", False) or known[name].nargs != 1
            flag = bool(getattr(known[name], "is_flag", False))
            found[known[name].name] = _checked(where, value, flag, several)
        elif setting is not None:
            one = _checked(where, value, setting.is_flag, False)
            words.append(f"{name}={str(one).lower() if isinstance(one, bool) else one}")
        else:
            names = sorted([*known, *(table.settings if table is not None else ())])
            near = get_close_matches(name, names, 1)
            cure = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}"
            raise SettingError(f"{path}: unknown key {key!r}; {cure}")
    return found, [*words, *found.pop("settings", [])]


def apply_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of an eager option: what stands in the file is the default of what the command line leaves out."""
    if path is not None:
        options, settings = read_options(path, context.command.params, _table(context))
        context.default_map = {**(context.default_map or {}), **options}
        context.meta[_FROM_FILE] = settings
    return path


def with_file_settings(context: typer.Context, words: list[str] | None) -> list[str]:
    """Callback of `--set`: the settings of the file come first, so that those given on the command line win.

    Raises:
        SettingError: a key is an option.
    """
    options = {key for parameter in context.command.params for key in _keys(parameter)}
    table = _table(context)
    for word in words or ():
        key = word.partition("=")[0].strip().replace("_", "-")
        if key in options and table is not None and table.find(key) is None:
            raise SettingError(f"--set {word}: {key} is an option of its own: --{key} (see --help)")
    return [*context.meta.get(_FROM_FILE, []), *(words or [])]


def list_settings(context: typer.Context, wanted: bool) -> bool:
    """Callback of `--settings`: print what `--set` takes, and exit."""
    table = _table(context) if wanted else None
    if table is not None:
        typer.echo(table.describe())
        raise typer.Exit
    return wanted


def _table(context: typer.Context) -> SettingTable | None:
    from crwedge.cli.settings_option import table_of

    return table_of(context.command_path.split()[1])


def _keys(parameter: Any) -> list[str]:
    """`--max-frames` -> `max-frames`; of an argument its name. Options without a value to keep have no key."""
    if parameter.name in ("config", "help", "list_settings"):
        return []
    if parameter.param_type_name == "argument":
        return [parameter.name]
    return [word.removeprefix("--") for word in parameter.opts if word.startswith("--")]


def _checked(where: str, value: Any, flag: bool, several: bool) -> Any:
    """A value of the right kind; a list for an option that may be repeated."""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not several:
        raise SettingError(f"{where} takes one value, not a list")
    for one in values:
        if isinstance(one, dict) or not isinstance(one, str | int | float | bool):
            raise SettingError(f"{where} is a {type(one).__name__}; write text, a number, true or false")
        if isinstance(one, bool) != flag:
            raise SettingError(f"{where} is {one!r}; it must be {'true or false' if flag else 'a number or text'}")
    return list(values) if several else value
