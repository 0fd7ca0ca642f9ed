"""Whether a film's file is as long as its container says: the boxes of mp4, the chunks of AVI, the segment of Matroska.

The number of frames in a header is no proof. Players leave frames out on purpose (edit lists, repeat frames), and
recorders write numbers that they never correct.
"""

from __future__ import annotations

import os
from typing import IO

from crwedge.core.location import Where, open_bytes, path_of

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"uuid", b"pnot", b"mfra")


def is_cut_short(where: Where) -> bool:
    """Whether bytes are missing at the end of a file. False where its container does not tell."""
    if not os.path.isfile(path_of(where)):
        # A pipe would wait for its next writer.
        return False
    try:
        with open_bytes(where) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            start = file.read(12)
            if start[4:8] in _BOXES:
                return _end_of_boxes(file, size) > size
            if start[:4] == b"RIFF":
                return _end_of_riff(file, size) > size
            if start[:4] == b"\x1a\x45\xdf\xa3":
                return _end_of_matroska(file) > size
    except OSError:
        pass
    return False


def _end_of_boxes(file: IO[bytes], size: int) -> int:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0 or head[4:8] not in _BOXES:
            # "To the end of the file", or no box any more.
            return size
        at += max(length, 8)
    return at


def _end_of_riff(file: IO[bytes], size: int) -> int:
    """AVI files beyond a gigabyte have several RIFF chunks."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length == 0:
            return size
        # Some writers count one byte of padding, others do not.
        at += 8 + length
    return at


def _end_of_matroska(file: IO[bytes]) -> int:
    """Where the segment ends; 0 where its length is not known, as in a stream that was recorded."""
    at, length = 0, 0
    for _ in range(2):
        file.seek(at)
        _, width = _number(file, keep_marker=True)
        length, digits = _number(file)
        if length < 0:
            return 0
        at += width + digits + length
    return at


def _number(file: IO[bytes], keep_marker: bool = False) -> tuple[int, int]:
    """A number of EBML and its bytes; -1 where it stands for "not known"."""
    first = file.read(1)
    if not first or first[0] == 0:
        return -1, 1
    width = 9 - first[0].bit_length()
    data = first + file.read(width - 1)
    value = int.from_bytes(data, "big")
    if keep_marker:
        return value, width
    mask = (1 << 7 * width) - 1
    return (-1 if value & mask == mask else value & mask), width
