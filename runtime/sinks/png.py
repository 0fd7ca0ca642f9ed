"""Label maps as palette pictures."""

from __future__ import annotations

import re
from pathlib import Path

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.core.location import is_hidden
from crwedge.core.masks import write_mask
from crwedge.core.palette import palette
from crwedge.runtime.sinks.base import Sink


class PngSink(Sink):
    """A palette PNG a frame in a folder, called as the frame's file or by its number; each is written whole or not at all.

    Args:
        folder: to write to.
        replace: remove the existing masks before the first one is written.
    """

    def __init__(self, folder: Path, replace: bool = False) -> None:
        """Nothing is created yet."""
        self.folder, self.name = folder, str(folder)
        self._replace = replace

    def write(self, labels: LabelMap) -> None:
        """One palette PNG, value = object id."""
        name = labels.name if labels.name is not None else f"{labels.index:05d}"
        try:
            if self._replace:
                for path in old_masks(self.folder):
                    path.unlink()
                self._replace = False
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
            write_mask(self.folder / f"{name}.png", labels.ids)
        except OSError as error:
            raise self._failed(error) from error


def old_masks(folder: Path) -> list[Path]:
    """Masks in a folder: palette PNG with our palette, and numbered files that are not colour pictures.

    Raises:
        SinkError: it also holds other pictures, which are never removed.
    """
    found = []
    for path in sorted(folder.glob("*.png")) if folder.is_dir() else ():
        if is_hidden(path.name):
            continue
        if not _is_mask(path):
            raise SinkError(f"{folder} holds {path.name}, which is not a mask; give an empty folder")
        found.append(path)
    return found


def _is_mask(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(8 + 25 + 12 + 768)
    kind = head[25:26]
    numbered = re.fullmatch(r"\d{5,}\.png", path.name) is not None
    if kind == b"\x03" and palette().tobytes() in head:
        return True
    return numbered and kind not in (b"\x02", b"\x04", b"\x06")
