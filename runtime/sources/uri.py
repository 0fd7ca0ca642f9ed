"""Addresses of sources: what is asked of a camera after the `#`, and how an address is shown."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from crwedge.core.errors import SourceError

NETWORK = ("http", "https", "rtsp", "rtsps", "srt", "tcp", "udp")
_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_WISHES = {
    "size": r"\d+x\d+",
    "fps": r"\d+(\.\d+)?",
    "format": r"\w+",
    "transport": "tcp|udp",
    "hwaccel": r"\w+",
}


def split_wishes(text: str) -> tuple[str, dict[str, str]]:
    """`v4l2:///dev/video0#size=640x480&fps=30` -> the address and what is asked of the device.

    Known are `size` (width x height), `fps`, `format` (pixel format or codec of a camera), `transport` (tcp or udp, of
    RTSP) and `hwaccel` (a decoder of this machine such as cuda or vaapi; software where it is absent).

    Raises:
        SourceError: something else is asked, or a value cannot be.
    """
    address, _, fragment = text.partition("#")
    wishes = dict(parse_qsl(fragment, keep_blank_values=True))
    for name, value in wishes.items():
        if name not in _WISHES:
            raise SourceError(f"unknown option {name!r} of a source; known are {', '.join(_WISHES)}")
        if not re.fullmatch(_WISHES[name], value):
            raise SourceError(f"the option {name}={value} of a source must look like {_WISHES[name]}")
    return address, wishes


def without_credentials(url: str) -> str:
    """The address with user, password and query left out, for messages and logs: tokens live in queries."""
    shown = re.sub(r"://[^/]*@", "://", url)
    return re.sub(r"\?.*", "", shown) if "://" in shown else shown


def knock_of(address: str) -> Callable[[], bool] | None:
    """A cheap question whether the other side is there at all; None where it cannot be asked."""
    if address.startswith("/dev/"):
        return Path(address).exists
    parts = urlsplit(address)
    port = parts.port or _PORTS.get(parts.scheme)
    if parts.scheme in ("udp", "srt") or not parts.hostname or not port:
        return None
    where = parts.hostname, port

    def knock() -> bool:
        try:
            socket.create_connection(where, timeout=0.5).close()
        except OSError:
            return False
        return True

    return knock
