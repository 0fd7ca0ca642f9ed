"""Messages between the tracker and its trainer's process: a JSON header and raw bytes over two pipes. No pickle."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Callable
from typing import IO, Any

_LENGTHS = struct.Struct(">4sIQ")
_MAGIC = b"cwtt"
_MOST_HEADER, _MOST_BODY = 1 << 20, 1 << 31


class WireError(Exception):
    """The other side has ended, is silent, or sent something that is not a message."""


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A message as bytes."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(_MAGIC, len(text), len(body)) + text + body


def write_message(stream: IO[bytes], header: dict[str, Any], body: bytes = b"") -> None:
    """Write one message and wait until it is gone (the trainer's side)."""
    stream.write(pack(header, body))
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Wait for one message; None at the end of the stream (the trainer's side)."""
    start = stream.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    text, body = _lengths(start)
    return _header(stream.read(text)), stream.read(body)


class Channel:
    """The tracker's side: every wait has an end, whatever the other side does.

    Args:
        source: descriptor to read from.
        target: descriptor to write to.
        check: called several times a second while waiting; raises to give up.
    """

    def __init__(self, source: int, target: int, check: Callable[[], None]) -> None:
        """Both descriptors stay the caller's to close."""
        self._source, self._target, self._check = source, target, check
        for descriptor in (source, target):
            os.set_blocking(descriptor, False)

    def send(self, header: dict[str, Any], body: bytes, seconds: float) -> None:
        """Write a message within `seconds`, or WireError."""
        left = memoryview(pack(header, body))
        end = time.monotonic() + seconds
        while left:
            self._wait([], [self._target], end, "did not take the frames")
            try:
                left = left[os.write(self._target, left[: 1 << 16]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise WireError("has ended") from error

    def receive(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Read a message that begins and ends within `seconds`, or WireError."""
        end = time.monotonic() + seconds
        text, body = _lengths(self._read(_LENGTHS.size, end))
        return _header(self._read(text, end)), self._read(body, end)

    def _read(self, count: int, end: float) -> bytes:
        parts = []
        while count:
            self._wait([self._source], [], end, "did not answer")
            try:
                part = os.read(self._source, min(count, 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise WireError("has ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _wait(self, sources: list[int], targets: list[int], end: float, complaint: str) -> None:
        while True:
            self._check()
            left = end - time.monotonic()
            if left <= 0:
                raise WireError(f"{complaint} in time (on a busy machine, raise --set ttt-patience=SECONDS)")
            if any(select.select(sources, targets, [], min(left, 0.1))):
                return


def _lengths(start: bytes) -> tuple[int, int]:
    magic, text, body = _LENGTHS.unpack(start)
    if magic != _MAGIC or text > _MOST_HEADER or body > _MOST_BODY:
        raise WireError("sent something that is not a message")
    return text, body


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WireError("sent something that is not a message") from error
    if not isinstance(header, dict):
        raise WireError("sent something that is not a message")
    return header
