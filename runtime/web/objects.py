"""Names and colours of the objects, kept on the disk."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crwedge.core.files import atomic_write
from crwedge.core.palette import bright_palette


@dataclass(frozen=True)
class NamedObject:
    """An object as a person knows it."""

    id: int
    name: str
    color: str
    """`#rrggbb`."""


class NamedObjects:
    """The objects that a person has named, by id.

    Args:
        path: a JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known: dict[int, NamedObject] = {}
        self._usual: Mapping[int, str] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for one in json.loads(path.read_text()):
                self._known[int(one["id"])] = NamedObject(int(one["id"]), str(one["name"]), str(one["color"]))

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the named objects."""
        return tuple(self._known)

    @property
    def names(self) -> dict[int, str]:
        """By id."""
        return {i: one.name for i, one in self._known.items()}

    def call(self, names: Mapping[int, str]) -> None:
        """Names by id of objects that nobody has named here."""
        self._usual = names

    def set(self, objects: Iterable[NamedObject]) -> None:
        """Replace all."""
        with self._lock:
            self._known = {one.id: one for one in objects}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                file.write(json.dumps([asdict(one) for one in self._known.values()]).encode())

    def remove(self, object_id: int) -> None:
        """Forget one."""
        self.set([one for one in self._known.values() if one.id != object_id])

    def of(self, object_id: int) -> NamedObject:
        """An object; with a usual name and colour where it has none."""
        if (known := self._known.get(object_id)) is not None:
            return known
        red, green, blue = (int(part) for part in bright_palette()[object_id])
        return NamedObject(
            object_id, self._usual.get(object_id, f"object {object_id}"), f"#{red:02x}{green:02x}{blue:02x}"
        )
