"""XML as a stream of elements, without what a hostile file could do: no document types, no entities, bounded sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from crwedge.formats.annotation import FormatError

MOST_BYTES = 2 * 2**30
"""Of a file."""
_DEEPEST = 32
_CHUNK = 1 << 16


def xml_elements(path: Path) -> Iterator[tuple[str, str, dict[str, str], str]]:
    """`("start", tag, attributes, "")` and `("end", tag, {}, text)` of each element, as the file is read.

    Raises:
        FormatError: it is not XML, too large or too deep, or declares a document type (entities live there).
    """
    if path.stat().st_size > MOST_BYTES:
        raise FormatError(f"{path} is larger than {MOST_BYTES >> 30} GB; export fewer frames at a time")
    events: list[tuple[str, str, dict[str, str], str]] = []
    texts: list[list[str]] = []

    def refuse(*_: Any) -> None:
        raise FormatError(f"{path} declares a document type, which annotations do not need; remove the DOCTYPE line")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(texts) >= _DEEPEST:
            raise FormatError(f"{path} has elements {_DEEPEST} levels deep: it is not an annotation")
        texts.append([])
        events.append(("start", tag, attributes, ""))

    def end(tag: str) -> None:
        events.append(("end", tag, {}, "".join(texts.pop()).strip()))

    def text(data: str) -> None:
        if texts:
            texts[-1].append(data)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    with path.open("rb") as file:
        last = False
        while not last:
            chunk = file.read(_CHUNK)
            last = not chunk
            try:
                parser.Parse(chunk, last)
            except (expat.ExpatError, ValueError, LookupError) as error:
                raise FormatError(f"{path} is damaged or not XML ({error})") from error
            yield from events
            events.clear()
