"""What a file or a folder of pictures is: the hash of its contents, and a stamp that changes when it is written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from crwedge.core.errors import SourceError
from crwedge.core.location import walk_folders
from crwedge.core.pictures import list_pictures

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Fingerprint:
    """Of a video or a mask."""

    sha256: str
    """Of the file's bytes; of a folder, of the lines `hash name` of its pictures, or of all files below it."""
    stamp: str
    """Short hash of sizes, inodes and times of change. Equal stamps: nothing was written since. Other stamps say nothing."""


def fingerprint(path: Path) -> Fingerprint:
    """Read a file, or the files of a folder: pictures, or the tree of an annotation.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        stamp = stamp_of(path)
        if not path.is_dir():
            return Fingerprint(_hash_file(path), stamp)
        total = hashlib.sha256()
        for file in _files(path):
            total.update(f"{_hash_file(file)} {file.relative_to(path).as_posix()}\n".encode("utf-8", "surrogateescape"))
        return Fingerprint(total.hexdigest(), stamp)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def stamp_of(path: Path) -> str:
    """See `Fingerprint.stamp`. The time of change of an inode cannot be set back, unlike that of its contents.

    Raises:
        OSError: it cannot be looked at.
    """
    facts = []
    names = {file: file.relative_to(path).as_posix() for file in _files(path)} if path.is_dir() else {path: path.name}
    for file, name in names.items():
        status = os.stat(file)
        facts.append((name, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _files(folder: Path) -> list[Path]:
    """The pictures of a folder of frames; every visible file of a tree, such as an annotation."""
    pictures = list_pictures(folder)
    return pictures or [file for _, files in walk_folders(folder) for file in files]


def _hash_file(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()
