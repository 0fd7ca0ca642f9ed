"""The location of a file's bytes (a file, or a member of a .tar shard), and which files of a folder are read."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "#recycle")
"""Folders that operating systems and network disks create beside the user's files."""
_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Location:
    """A file, or a stretch of one."""

    path: str
    offset: int = 0
    length: int = -1
    """-1: to the end of the file."""
    name: str = ""
    """Of the member of a shard."""

    def open(self) -> Any:
        """What PyAV and Pillow read from: a path or a file object."""
        if self.length < 0:
            return self.path
        return _Stretch(self.path, self.offset, self.length)

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else self.path


Where = str | Path | Location
"""A file, or a stretch of one."""


def path_of(where: Where) -> str | Path:
    """The path of the file that a place is in."""
    return where.path if isinstance(where, Location) else where


def open_bytes(where: Where) -> IO[bytes]:
    """A file or a stretch of one, open for reading; OSError when it cannot be."""
    source: Any = where.open() if isinstance(where, Location) else where
    return open(source, "rb") if isinstance(source, (str, Path)) else source


class _Stretch(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, path: str, offset: int, length: int) -> None:
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed with this object
        self._offset, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._length - self._at))
        self._file.seek(self._offset + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts frame2 before frame10; the order of names that differ only in leading zeros is fixed too."""
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
    return parts, name


def path_key(path: str | Path) -> tuple[Any, ...]:
    """Sorts paths naturally, folder by folder."""
    return tuple(natural_key(part) for part in Path(path).parts)


def is_file_or_lost(path: str | Path) -> bool:
    """Whether it is a file, or a link whose file is gone, which is told of when it is read; no folder, pipe or device."""
    return os.path.isfile(path) or not os.path.exists(path)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not user data: hidden (`.x`, the `._x` of macOS), or created by the operating system."""
    return name.startswith(".") or name.lower() in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES)


def walk_folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder below `root` once, links followed, with its visible files; both in natural order."""
    seen: set[tuple[int, int]] = set()

    def visit(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
        try:
            status = folder.stat()
            entries = sorted((path for path in folder.iterdir() if not is_hidden(path.name)), key=path_key)
        except OSError:
            return
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        yield folder, [path for path in entries if os.path.isfile(path)]
        for path in entries:
            if os.path.isdir(path):
                yield from visit(path)

    yield from visit(root)


def read_lines(path: Path) -> list[str]:
    """Lines of a text file of any encoding, without their ends and surrounding blanks.

    A byte order mark decides, else the text is UTF-8; other bytes are kept, so that names of files written
    in them are found.
    """
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [line.strip() for line in text.splitlines()]


def existing(folder: Path, name: str) -> Path:
    """The file that a line of a list names, relative to `folder`.

    Where there is none, the line is read as the older Western encoding, which lists from Windows have.
    """
    path = folder / name
    if not os.path.exists(path):
        other = folder / os.fsencode(name).decode("cp1252", "replace")
        if os.path.exists(other):
            return other
    return path


def repeated_stem(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that differ by their suffix alone (a picture and its mask, say), or None."""
    seen: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in seen:
            return seen[stem], name
        seen[stem] = name
    return None
