"""Training settings from TOML files, from `--set key=value` and from flags, and back to TOML."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from crwedge.core.described import field_docs
from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.train.config import Part, TrainConfig

_NAMES = tuple(item.name for item in fields(TrainConfig))


def read_config(path: str | Path | None, settings: Iterable[str] = (), **flags: Any) -> TrainConfig:
    """The settings of a TOML file, changed by `key=value` texts, changed by flags that are not None.

    `path` may be the bare name of a shipped file: `default`, `paper`, `demo`.

    Tables in the file only group settings: `[walk]` followed by `temperature = 0.07` is `temperature = 0.07`.

    Raises:
        SettingError: the file is missing or no TOML, a name is unknown, or a value cannot be.
    """
    values: dict[str, Any] = {}
    if path is not None:
        shipped = Path(__file__).parent / "configs" / f"{path}.toml"
        path = shipped if Path(path).name == str(path) and shipped.is_file() else Path(path)
        try:
            values = _flatten(_toml().loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingError(f"the configuration {path} cannot be read: {reason}") from error
    for text in settings:
        name, sign, value = text.partition("=")
        if not sign:
            raise SettingError(f"--set {text!r} is not key=value, such as --set temperature=0.05")
        values[name.strip()] = parse_value(value.strip())
    values.update({name: value for name, value in flags.items() if value is not None})
    return build(values)


def build(values: Mapping[str, Any]) -> TrainConfig:
    """A checked configuration from plain values. SettingError names the first unknown one."""
    unknown = sorted(set(values) - set(_NAMES))
    if unknown:
        raise SettingError(f"unknown setting {unknown[0]!r}; `crwedge train --settings` lists them all")
    try:
        return replace(TrainConfig(), **values)
    except (TypeError, ValueError) as error:
        raise SettingError(f"a setting has a value that cannot be: {error}") from error


def parse_value(text: str) -> Any:
    """A value as TOML writes it; bare words are text."""
    try:
        return _toml().loads(f"value = {text}")["value"]
    except ValueError:
        return text


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as TOML; `read_config` gives the same back."""
    lines = ["# Every setting of this run; `crwedge train --config THIS` repeats it."]
    for name in _NAMES:
        value = getattr(config, name)
        if name not in ("mixture", "weights"):
            lines.append(f"{name} = {_literal(value)}")
    lines.append("weights = {" + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in config.weights.items()) + "}")
    for part in config.mixture:
        lines.append("\n[[mixture]]")
        lines += [f"{item.name} = {_literal(getattr(part, item.name))}" for item in fields(Part)]
    return "\n".join(lines) + "\n"


def describe() -> str:
    """Every setting, its default and its meaning, for `crwedge train --settings`."""
    values = {name: _literal(getattr(TrainConfig(), name)) for name in _NAMES}
    return "\n".join(f"{name} = {values[name]}\n    {text}" for name, text in field_docs(TrainConfig).items())


def _flatten(table: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in table.items():
        inner = value if isinstance(value, dict) and name != "weights" else {name: value}
        for key, item in inner.items():
            if key in values:
                raise SettingError(f"the setting {key!r} stands twice in the configuration")
            values[key] = item
    return values


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return "inf" if math.isinf(value) else repr(value)
    if isinstance(value, int):
        return repr(value)
    return json.dumps(str(value))


def _toml() -> Any:
    # The standard library has it from Python 3.11 on.
    return import_optional("tomllib" if sys.version_info >= (3, 11) else "tomli", "train")
