"""Tables of videos: CSV, TSV or JSON Lines. A line of a batch's own manifest is such a row too, and repeats its result."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from crwedge.batch.listing import absolute
from crwedge.batch.option_values import KNOWN, parse_value
from crwedge.batch.row import Row, name_of
from crwedge.batch.storage import is_remote
from crwedge.core.errors import SettingError, SourceError
from crwedge.core.json_text import parse_json
from crwedge.core.location import read_lines
from crwedge.core.remote import filesystem
from crwedge.runtime.sources.uri import file_path

TABLES = (".csv", ".tsv", ".jsonl")
_OWN = ("name", "video", "mask", "model", "model_sha256", "source_sha256", "mask_sha256", "engine", "save")
_GROUPS = ("settings", "options")
RESULTS = (
    *(
        "state",
        "frames",
        "seconds",
        "fps",
        "outputs",
        "error",
        "attempts",
        "finished",
        "engine_name",
        "crwedge",
        "run",
        "notes",
    ),
    *("source_stamp", "mask_stamp", "peak_rss_mb", "object_ids", "targets"),
)
"""What a manifest says of a result; ignored where the manifest is a table of videos."""


def read_table(path: str) -> list[Row]:
    """Read the rows of a table.

    Columns are `video` (needed), `mask`, `name`, `model`, `engine`, `save`, and any option of a video or setting of
    propagation. An empty cell leaves an option alone.

    Raises:
        UserError: the file is missing, or a line has a mistake, with its number.
    """
    lines = _lines(path)
    if Path(path).suffix.lower() == ".jsonl":
        rows = [(number, _json(path, number, line)) for number, line in enumerate(lines, 1) if line]
    else:
        head = next((line for line in lines if line), None)
        if head is None:
            raise SettingError(f"{path} is empty; its first line names the columns, such as video,mask")
        mark = max(",;\t", key=head.count)
        reader = csv.DictReader(lines, delimiter=mark, restkey="", restval="")
        rows = []
        for row in reader:
            if row.get(""):
                raise SettingError(f"{path}, line {reader.line_num}: it has more cells than the first line")
            rows.append((reader.line_num, {k.strip().lower(): v.strip() for k, v in row.items() if v and v.strip()}))
    base = Path(path).parent if not is_remote(path) else Path.cwd()
    found = []
    for number, values in rows:
        try:
            found.append(_row(values, path, base))
        except SettingError as error:
            raise SettingError(f"{path}, line {number}: {error}") from error
    return found


def _row(values: dict[str, Any], table: str, base: Path) -> Row:
    unknown = sorted(set(values) - {*_OWN, *_GROUPS, *RESULTS, *KNOWN})
    if unknown:
        raise SettingError(
            f"there is no column {unknown[0]!r}; known are {', '.join((*_OWN, *_GROUPS))} and {', '.join(KNOWN)}"
        )
    if not isinstance(values.get("video"), str):
        raise SettingError("it names no video")
    save = values.get("save") or ()
    if not all(isinstance(values.get(name), str | None) for name in ("mask", "model", "engine")):
        raise SettingError("mask, model and engine are texts")
    if not isinstance(save, str | list | tuple) or not all(isinstance(one, str) for one in save):
        raise SettingError("save is a text or a list of texts")
    if not all(isinstance(values.get(group) or {}, dict) for group in _GROUPS):
        raise SettingError(f"{' and '.join(_GROUPS)} are objects, such as {{'radius': 12}}")
    options: dict[str, Any] = {}
    for group in _GROUPS:
        options |= dict(values.get(group) or {})
    options |= {name: values[name] for name in KNOWN if name in values}
    options = {name: parse_value(name, value) for name, value in options.items()}
    mask = values.get("mask") or ""

    def place(path: str) -> str:
        if is_remote(table) and not is_remote(path):
            return f"{table.rpartition('/')[0]}/{path}"
        return absolute(path, base)

    stem = os.path.splitext(os.path.basename(file_path(values["video"]).rstrip("/")))[0]
    return Row(
        name=name_of(str(values.get("name") or stem)),
        video=place(values["video"]),
        mask=place(mask) if mask else "",
        options=options,
        model=values.get("model"),
        engine=values.get("engine"),
        save=tuple(save.split()) if isinstance(save, str) else tuple(save),
        problem="" if mask else "it has no mask: fill the column mask",
        **{name: str(values.get(name) or "") for name in ("model_sha256", "source_sha256", "mask_sha256")},
    )


def _lines(path: str) -> list[str]:
    if is_remote(path):
        system, inner = filesystem(path)
        try:
            return [line.strip() for line in system.cat_file(inner).decode("utf-8-sig").splitlines()]
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error}") from error
    local = Path(file_path(path))
    if not local.is_file():
        raise SourceError(f"there is no table {path}")
    return read_lines(local)


def _json(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        values = parse_json(line)
    except ValueError as error:
        raise SettingError(f"{path}, line {number} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path}, line {number} is not a JSON object, such as {{'video': 'a.mp4', 'mask': 'a.png'}}")
    return values
