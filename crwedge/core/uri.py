"""URIs: which kind one is, and how it is shown."""

from __future__ import annotations

import os
import re


def scheme_of(text: str) -> str:
    """`rtsp` of `rtsp://host/live`; empty for a path, also for one with a colon, and for whatever exists."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    return match[1].lower() if match and not os.path.lexists(text) else ""


def redact(uri: str) -> str:
    """The URI with user, password and query left out, for messages and logs: tokens live in queries."""
    shown = re.sub(r"://[^/]*@", "://", uri)
    return re.sub(r"\?.*", "", shown) if "://" in shown else shown
