"""URIs of sources: the options after the `#`, and how a URI is shown."""

from __future__ import annotations

import glob
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.images import parse_size, size_text
from crwedge.core.location import is_file_or_lost
from crwedge.core.uri import redact, scheme_of

__all__ = [
    "FILE_OPTIONS",
    "NETWORK",
    "file_path",
    "is_reachable",
    "matching",
    "parse_source_options",
    "redact",
    "scheme_of",
]

NETWORK = ("http", "https", "rtsp", "rtsps", "srt", "tcp", "udp")
_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_OPTIONS = {
    "size": r"\d+x\d+",
    "fps": r"\d+(\.\d+)?",
    "format": r"\w+",
    "transport": "tcp|udp",
    "hwaccel": r"\w+",
    "stream": r"\d+",
}
FILE_OPTIONS = ("hwaccel", "stream")
"""Options that a film's file takes."""


def parse_source_options(text: str) -> tuple[str, dict[str, str]]:
    """`v4l2:///dev/video0#size=480x640&fps=30` -> the address and the options of the device.

    Known are `size` (height x width, see `camera_size`), `fps`, `format` (pixel format or codec of a camera), `transport`
    (tcp or udp, of RTSP), `hwaccel` (a decoder of this machine such as cuda or vaapi; software where it is absent) and
    `stream` (which of several video streams, from 0).

    Raises:
        SourceError: an option is unknown, or its value has another form.
    """
    address, _, fragment = text.partition("#")
    options = dict(parse_qsl(fragment, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise SourceError(f"unknown option {name!r} of a source; choose one of {', '.join(_OPTIONS)}")
        if not re.fullmatch(_OPTIONS[name], value):
            raise SourceError(f"the option {name}={value!r} of a source must look like {_OPTIONS[name]}")
    return address, options


def camera_size(text: str) -> tuple[int, int]:
    """`480x640` -> (480, 640), height x width.

    Drivers and players write the width first. Sensors are wider than high, so a size that is higher than wide is refused: it
    is most likely one of theirs.

    Raises:
        SourceError: it is not a size, or higher than wide.
    """
    try:
        height, width = parse_size(text)
    except SettingError as error:
        raise SourceError(f"the option {error}") from error
    if height > width:
        raise SourceError(
            f"the option size={text} is higher than wide; sizes are HEIGHTxWIDTH here: size={size_text((width, height))}"
        )
    return height, width


def file_path(text: str) -> str:
    """The path of a `file://` URI. A path that exists as it is written wins over its percent codes."""
    path = text[len("file://") :].removeprefix("localhost") if text.lower().startswith("file://") else text
    return path if os.path.lexists(path) else unquote(path)


def matching(pattern: str) -> list[Path]:
    """Files that match a glob. Folders whose own names look like a pattern (`clip [x]/*.png`) are taken by name."""
    parts = Path(pattern).parts
    literal = 0
    while literal < len(parts) - 1 and os.path.isdir(Path(*parts[: literal + 1])):
        literal += 1
    base = glob.escape(str(Path(*parts[:literal]))) if literal else ""
    found = glob.glob(os.path.join(base, *parts[literal:]), recursive=True)
    return [Path(path) for path in found if is_file_or_lost(path)]


def is_reachable(address: str) -> Callable[[], bool] | None:
    """A cheap question whether the other side is there at all; None where it cannot be asked."""
    if address.startswith("/dev/"):
        return Path(address).exists
    parts = urlsplit(address)
    port = parts.port or _PORTS.get(parts.scheme)
    if parts.scheme in ("udp", "srt") or not parts.hostname or not port:
        return None
    where = parts.hostname, port

    def ask() -> bool:
        try:
            socket.create_connection(where, timeout=0.5).close()
        except OSError:
            return False
        return True

    return ask
