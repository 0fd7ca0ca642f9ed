"""Temporary files, one for each object: formats that keep objects together are written frame by frame with bounded memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO

_IN_MEMORY = 1 << 16


class Spools:
    """Text that is collected for each object.

    Args:
        folder: where the temporary files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[int, tempfile.SpooledTemporaryFile[bytes]] = {}

    @property
    def ids(self) -> list[int]:
        """Objects that have text, in rising order."""
        return sorted(self._files)

    def add(self, object_id: int, text: str) -> None:
        """Append text to that of an object."""
        if object_id not in self._files:
            file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self.folder))  # noqa: SIM115 - closed by copy
            self._files[object_id] = file
        self._files[object_id].write(text.encode())

    def copy(self, object_id: int, target: IO[bytes]) -> None:
        """Write the text of an object to `target`, and drop it."""
        file = self._files.pop(object_id)
        file.seek(0)
        shutil.copyfileobj(file, target)
        file.close()
