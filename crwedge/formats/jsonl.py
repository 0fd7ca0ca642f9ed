"""JSON Lines, as `crwedge track --out masks.jsonl` writes them: one line a frame, complete when it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from crwedge.core.json_text import parse_json
from crwedge.formats.annotation import (
    MOST_OBJECTS,
    AnnotatedFrame,
    Annotation,
    FormatError,
    Video,
    check_size,
)
from crwedge.formats.runs import CocoRuns

_LONGEST = 1 << 28
"""Bytes of a line."""


def read_jsonl(path: Path) -> Annotation:
    """Read the masks of a file of JSON Lines. A last line that was cut off is skipped.

    Raises:
        FormatError: it is another file, damaged, or holds joints.
    """
    names: dict[int, str] = {}
    places: list[tuple[int, int, int]] = []
    size: tuple[int, int] | None = None
    with path.open("rb") as file:
        while True:
            offset = file.tell()
            facts = _next_line(file, path)
            if facts is None:
                break
            try:
                places.append(
                    (int(facts["frame"] if "frame" in facts else facts["index"]), int(facts["index"]), offset)
                )
                names.update({int(i): str(name) for i, name in facts.get("names", {}).items()})
                for rle in facts["objects"].values() if size is None else ():
                    size = check_size(int(rle["size"][0]), int(rle["size"][1]), str(path))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                kind = "holds joints, not masks" if "joints" in facts else f"has a damaged line ({error} at {offset})"
                raise FormatError(f"{path} {kind}") from error
    if size is None:
        raise FormatError(f"{path} holds no masks")
    # A camera that was opened again may count anew.
    column = 0 if len({place[0] for place in places}) == len(places) else 1
    order = sorted((place[column], place[2]) for place in places)
    whole = size

    def frames() -> Iterator[AnnotatedFrame]:
        with path.open("rb") as file:
            for number, offset in order:
                file.seek(offset)
                facts = _next_line(file, path)
                assert facts is not None
                name = facts.get("name")
                pts = facts.get("pts")
                yield AnnotatedFrame(
                    number, _ids(facts, whole, path), name if isinstance(name, str) else None, pts if pts else None
                )

    return Annotation(Video(path.name.split(".")[0]), size, frames, names)


def _next_line(file: BinaryIO, path: Path) -> dict[str, Any] | None:
    """The next line; None at the end, and where the last line was cut off."""
    line = file.readline(_LONGEST)
    if not line:
        return None
    if not line.endswith(b"\n"):
        if len(line) >= _LONGEST:
            raise FormatError(f"{path} has a line of more than {_LONGEST >> 20} MB: it holds no masks")
        return None
    try:
        facts = parse_json(line)
    except ValueError as error:
        raise FormatError(f"{path} is damaged or not JSON Lines ({error})") from error
    if not isinstance(facts, dict):
        raise FormatError(f"{path} holds no masks: a line is not a JSON object")
    return facts


def _ids(facts: dict[str, Any], size: tuple[int, int], path: Path) -> NDArray[np.uint8]:
    ids = np.zeros(size, np.uint8)
    try:
        for key, rle in facts["objects"].items():
            number = int(key)
            if not 0 < number <= MOST_OBJECTS:
                raise FormatError(f"it has the object {number}; ids go from 1 to {MOST_OBJECTS}")
            ids[CocoRuns(rle).mask(size)] = number
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path} has a damaged line ({error})") from error
    except FormatError as error:
        raise FormatError(f"{path}, frame {facts.get('index')}: {error}") from error
    return ids
