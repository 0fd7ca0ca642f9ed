"""Training settings from TOML files, from `--set key=value` and from flags, and back to TOML."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crwedge.core.described import field_docs
from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.train.config import GROUPS, NAMES, TABLE_OF, TrainConfig

RENAMED = {
    "views": "mode",
    "middle_scale": "inner_scale",
    "occlude": "cutmix",
    "across_clips": "cross_clip_negatives",
}
"""Names of settings in flat recipes of earlier versions, and their names now."""

REMOVED: dict[str, Any] = {
    "flip": 0.5,
    "grey": 0.0,
    "mixture": [],
    "jitter_scale": [0.7, 0.9],
    "jitter_ratio": [0.7, 1.3],
    "accumulate": 1,
    "final_rate": 0.02,
    "compile": False,
    "checkpoint_activations": False,
    "sync_batchnorm": True,
    "keep": 3,
}
"""Settings of earlier versions that are gone, with the value that training uses now."""

_log = logging.getLogger(__name__)


def read_config(path: str | Path | None, settings: Iterable[str] = (), **flags: Any) -> TrainConfig:
    """The settings of a TOML file, changed by `key=value` texts, changed by flags that are not None.

    Args:
        path: a TOML file with the tables of `TrainConfig`, or the name of a shipped one: `default`, `moving`, `paper`, `demo`.
            The flat files of earlier versions are converted.
        settings: `temperature=0.05` or `walk.temperature=0.05`, with values as in TOML.
        flags: settings by name.

    Raises:
        SettingError: the file is missing or no TOML, a name is unknown, or a value is not allowed.
    """
    values: dict[str, Any] = {}
    if path is not None:
        shipped = Path(__file__).parent / "configs" / f"{path}.toml"
        path = shipped if Path(path).name == str(path) and shipped.is_file() else Path(path)
        try:
            table = _toml().loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingError(f"the configuration {path} cannot be read: {reason}") from error
        values = _from_tables(table, path)
    for text in settings:
        name, sign, value = text.partition("=")
        if not sign:
            raise SettingError(f"--set {text!r} is not key=value, such as --set temperature=0.05")
        values[_known(*_split(name.strip()))] = parse_value(value.strip())
    values.update({name: value for name, value in flags.items() if value is not None})
    return TrainConfig().with_changes(**values)


def parse_value(text: str) -> Any:
    """A value as TOML writes it; bare words are text."""
    try:
        return _toml().loads(f"value = {text}")["value"]
    except ValueError:
        return text


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as TOML; `read_config` gives the same back."""
    lines = ["# Every setting of this run; `crwedge train --config THIS` repeats it."]
    for table, names in NAMES.items():
        lines.append(f"\n[{table}]")
        lines += [f"{name} = {_literal(getattr(getattr(config, table), name))}" for name in names]
    return "\n".join(lines) + "\n"


def describe() -> str:
    """Every setting by table, its default and its meaning, for `crwedge train --settings`."""
    config, lines = TrainConfig(), []
    for table, group in GROUPS.items():
        lines.append(f"[{table}]")
        docs = field_docs(group)
        for name in NAMES[table]:
            value = _literal(getattr(getattr(config, table), name))
            lines.append(f"{name} = {value}\n    {docs.get(name, '')}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()


def _from_tables(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Values by name. Keys that stand in no table are those of a flat file of an earlier version."""
    values: dict[str, Any] = {}
    renamed = []
    for key, value in table.items():
        if key in GROUPS and isinstance(value, dict):
            values.update({_known(key, name): item for name, item in value.items()})
        elif key in REMOVED:
            if value != REMOVED[key]:
                raise SettingError(f"{path}: {_removed(key)}")
        else:
            name = RENAMED.get(key, key)
            if name not in TABLE_OF:
                raise SettingError(f"{path}: unknown setting {key!r}; `crwedge train --settings` lists them all")
            if name != key:
                renamed.append(f"{key} to {TABLE_OF[name]}.{name}")
            values[name] = value
    if renamed:
        _log.info("%s is of an earlier version; it was read with %s", path, ", ".join(renamed))
    return values


def _split(name: str) -> tuple[str | None, str]:
    table, dot, rest = name.rpartition(".")
    return (table if dot else None), rest


def _known(table: str | None, name: str) -> str:
    """`name`, if it is a setting of `table` (None: of any)."""
    if name in TABLE_OF and table in (None, TABLE_OF[name]):
        return name
    if name in REMOVED:
        raise SettingError(_removed(name))
    if name in RENAMED:
        raise SettingError(f"the setting {name!r} is called {TABLE_OF[RENAMED[name]]}.{RENAMED[name]} now")
    shown = f"{table}.{name}" if table else name
    if name in TABLE_OF:
        raise SettingError(f"there is no setting {shown!r}; {name} belongs to the table [{TABLE_OF[name]}]")
    raise SettingError(f"unknown setting {shown!r}; `crwedge train --settings` lists them all")


def _removed(name: str) -> str:
    value = _literal(REMOVED[name])
    return f"the setting {name!r} is gone, training uses {value}; leave it out"


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
