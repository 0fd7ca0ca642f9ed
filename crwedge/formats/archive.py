"""Zip files of annotations."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from crwedge.core.files import atomic_write
from crwedge.formats.annotation import FormatError

_MOST_BYTES = 8 * 2**30
_MOST_FILES = 200_000
_CHUNK = 1 << 20


def unpack(path: Path, folder: Path) -> None:
    """Unpack the annotations of a zip into `folder`; pictures are left out, but for PNG, which may be masks.

    Raises:
        FormatError: it is damaged, too large, or has a file that would lie outside the folder.
    """
    left = _MOST_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) > _MOST_FILES:
                raise FormatError(f"{path} holds {len(members)} files; more than {_MOST_FILES} are not unpacked")
            for member in members:
                inner = PurePosixPath(member.filename.replace("\\", "/"))
                if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]:
                    raise FormatError(f"{path} has a file {member.filename!r} that lies outside the archive")
                if inner.suffix.lower() not in (".xml", ".json", ".jsonl", ".txt", ".yaml", ".png"):
                    continue
                target = folder / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                # The size in the header may be a lie: bytes are counted as they come.
                with archive.open(member) as source, target.open("wb") as file:
                    while chunk := source.read(_CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            raise FormatError(f"{path} unpacks to more than {_MOST_BYTES >> 30} GB")
                        file.write(chunk)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
        IndexError,
    ) as error:
        raise FormatError(f"{path} cannot be unpacked ({error})") from error


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder as a zip, whole or not at all."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(p for p in folder.rglob("*") if p.is_file()):
            method = zipfile.ZIP_STORED if source.suffix == ".png" else zipfile.ZIP_DEFLATED
            archive.write(source, source.relative_to(folder).as_posix(), compress_type=method)
