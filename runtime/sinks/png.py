"""Label maps as numbered palette pictures."""

from __future__ import annotations

from pathlib import Path

from crwedge.core.labels import LabelMap
from crwedge.core.masks import write_mask
from crwedge.runtime.sinks.base import Sink


class PngSink(Sink):
    """`00000.png`, `00001.png`, ... in a folder; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Nothing is created yet."""
        self.folder, self.name = folder, str(folder)

    def write(self, labels: LabelMap) -> None:
        """One palette PNG, value = object id."""
        try:
            if labels.index == 0 or not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
            write_mask(self.folder / f"{labels.index:05d}.png", labels.ids)
        except OSError as error:
            raise self._failed(error) from error
