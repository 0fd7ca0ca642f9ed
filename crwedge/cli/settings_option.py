"""`--set key=value`: the rarer settings of a command. They are the fields of dataclasses, and are declared there alone."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from crwedge.core.checked import field_types
from crwedge.core.described import field_docs
from crwedge.core.errors import SettingError
from crwedge.core.images import parse_size

TABLES = {
    "track": "crwedge.cli.track:setting_table",
    "eval": "crwedge.cli.eval:setting_table",
    "bench": "crwedge.cli.bench:setting_table",
    "batch": "crwedge.cli.batch:setting_table",
}
"""Command -> function that gives its table."""
SHORT = {"context": "context-length"}
"""Other spellings of keys."""


@dataclass(frozen=True)
class Setting:
    """One key."""

    key: str
    home: type
    """Dataclass that has the field."""
    field: str
    types: frozenset[Any]
    default: str
    doc: str

    @property
    def is_flag(self) -> bool:
        """Whether the value is true or false."""
        return bool in self.types

    def parse(self, text: str) -> Any:
        """The value of a text. SettingError when it is of another kind; bounds are checked by the dataclass."""
        word = text.strip()
        if type(None) in self.types and word.lower() in ("none", ""):
            return None
        try:
            return _convert(word, self.types)
        except ValueError:
            raise SettingError(f"--set {self.key}={text}: {self.key} is {_wanted(self.types)}") from None


class SettingTable:
    """The keys that `--set` of a command takes.

    Args:
        command: as a user writes it.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.settings: dict[str, Setting] = {}

    def add(
        self, home: type, leave_out: Collection[str] = (), prefix: str = "", default: str | None = None
    ) -> SettingTable:
        """Add the fields of a dataclass.

        Args:
            home: the dataclass.
            leave_out: fields that are options or that the command fills in.
            prefix: of the keys.
            default: what to show as default where it is not the dataclass's own.
        """
        types, docs = field_types(home), field_docs(home)
        for item in fields(home):
            if item.name not in leave_out:
                key = prefix + item.name.replace("_", "-")
                own = None if item.default is MISSING else item.default
                doc = " ".join(docs.get(item.name, "").split())
                self.settings[key] = Setting(
                    key, home, item.name, _kinds(types[item.name]), default or default_text(own), doc
                )
        return self

    def find(self, name: str) -> Setting | None:
        """The setting of a key; `first_frame` is `first-frame`."""
        key = name.strip().replace("_", "-")
        return self.settings.get(SHORT.get(key, key))

    def parse(self, words: Iterable[str] | None) -> Mapping[type, dict[str, Any]]:
        """Dataclass -> field -> value of `key=value` texts; the last one of a key wins.

        Raises:
            SettingError: a text is not key=value, a key is unknown, or a value is of another kind.
        """
        found: dict[type, dict[str, Any]] = {setting.home: {} for setting in self.settings.values()}
        for word in words or ():
            name, sign, text = word.partition("=")
            if not sign or not name.strip():
                raise SettingError(f"--set {word!r} is not key=value, such as --set context-length=5")
            setting = self.find(name)
            if setting is None:
                raise SettingError(f"--set {word}: {self.unknown(name)}")
            found[setting.home][setting.field] = setting.parse(text)
        return found

    def parse_plain(self, words: Iterable[str] | None) -> dict[str, Any]:
        """Field -> value, of all dataclasses together, as JSON has it: pairs are lists."""
        values = {name: value for part in self.parse(words).values() for name, value in part.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def unknown(self, name: str) -> str:
        """What to say of a key that there is not."""
        key = name.strip().replace("_", "-")
        near = get_close_matches(key, [*self.settings, *SHORT], 1)
        guess = f"; did you mean {near[0]}?" if near else ""
        return f"there is no setting {name.strip()!r}{guess} (`{self.command} --settings` lists them)"

    def describe(self) -> str:
        """Every key with its default and meaning."""
        lines = [f"Settings of `{self.command}`, as --set KEY=VALUE or in the file of --config:"]
        for setting in self.settings.values():
            meaning = textwrap.fill(setting.doc, 100, initial_indent="    ", subsequent_indent="    ")
            lines.append(f"{setting.key} = {setting.default}{chr(10) if meaning else ''}{meaning}")
        return "\n".join(lines)


def default_text(value: Any) -> str:
    """A default as a user would write it; `none` where there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value in (None, "") else str(value)


def table_of(command: str) -> SettingTable | None:
    """The table of a command, or None where it has none."""
    if command not in TABLES:
        return None
    module, function = TABLES[command].split(":")
    table = getattr(import_module(module), function)()
    assert isinstance(table, SettingTable)
    return table


def as_settings(arguments: Sequence[str]) -> list[str]:
    """The arguments with every option that is the key of a setting written as `--set key=value`.

    `--fps 15` and `--fps=15` become `--set fps=15`, `--reverse` becomes `--set reverse=true`, `--no-confidence` becomes
    `--set confidence=false`, and `--ttt-set updates=9` becomes `--set ttt-updates=9`.
    """
    table = table_of(next((word for word in arguments if not word.startswith("-")), ""))
    if table is None:
        return list(arguments)
    found: list[str] = []
    waiting = iter(arguments)
    for word in waiting:
        option, sign, value = word.partition("=")
        name = option.removeprefix("--")
        if word == "--":
            return [*found, word, *waiting]
        if option == "--ttt-set":
            found += ["--set", f"ttt-{value if sign else _following(option, waiting)}"]
            continue
        setting = table.find(name.removeprefix("no-")) if option.startswith("--") else None
        if setting is None or (name.startswith("no-") and not setting.is_flag):
            found.append(word)
        elif sign or not setting.is_flag:
            found += ["--set", f"{setting.key}={value if sign else _following(option, waiting)}"]
        else:
            found += ["--set", f"{setting.key}={str(not name.startswith('no-')).lower()}"]
    return found


def _following(option: str, words: Iterator[str]) -> str:
    word = next(words, None)
    if word is None:
        raise SettingError(f"{option} needs a value")
    return word


def _kinds(hint: Any) -> frozenset[Any]:
    """The types of a union one by one, or the one type."""
    return frozenset(get_args(hint)) if get_origin(hint) in (Union, UnionType) else frozenset((hint,))


def _convert(word: str, types: frozenset[Any]) -> Any:
    if bool in types:
        if word.lower() not in ("true", "false"):
            raise ValueError(word)
        return word.lower() == "true"
    if float in types:
        return float(word)
    if int in types:
        return int(word)
    pair = next((kind for kind in types if get_origin(kind) is tuple), None)
    if pair is not None:
        return parse_size(word) if int in get_args(pair) else tuple(float(part) for part in word.strip("[]").split(","))
    return Path(word) if Path in types else word


def _wanted(types: frozenset[Any]) -> str:
    if bool in types:
        return "true or false"
    if float in types:
        return "a number"
    return "a whole number" if int in types else "two numbers, such as 0.1,1.0"
