"""Files below a folder, on this machine or on any storage that fsspec knows, as sorted paths with `/` between their parts."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crwedge.batch.storage import is_remote
from crwedge.core.errors import SourceError
from crwedge.core.location import is_hidden, path_key, walk_folders
from crwedge.core.remote import filesystem
from crwedge.runtime.sources.uri import file_path


@dataclass(frozen=True)
class Listing:
    """Visible files below `root`."""

    root: str
    """Absolute path or URI."""
    files: tuple[str, ...]
    """Relative to `root`, in natural order."""

    def path(self, name: str) -> str:
        """Absolute path or URI of a file."""
        return posixpath.join(self.root, name)

    def folders(self) -> dict[str, list[str]]:
        """Relative folder ("" is the root) -> names of its own files."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            folder, _, name = file.rpartition("/")
            found.setdefault(folder, []).append(name)
        return found


def list_folder(folder: str) -> Listing:
    """All visible files below a folder.

    Raises:
        SourceError: there is no such folder.
    """
    if is_remote(folder):
        system, path = filesystem(folder)
        names = (name[len(path) :].strip("/") for name in system.find(path))
        return Listing(folder.rstrip("/"), _sorted(names))
    root = Path(os.path.abspath(file_path(folder)))
    if not root.is_dir():
        raise SourceError(f"there is no folder {folder}")
    names = (file.relative_to(root).as_posix() for _, files in walk_folders(root) for file in files)
    return Listing(str(root), _sorted(names))


def absolute(path: str, base: Path) -> str:
    """An absolute path or a URI; a relative path starts at `base`."""
    return path if is_remote(path) else os.path.abspath(base / file_path(path))


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    visible = [name for name in names if name and not any(is_hidden(part) for part in name.split("/"))]
    return tuple(sorted(visible, key=path_key))
