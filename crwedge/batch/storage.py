"""What `crwedge batch` takes as a file: of this machine, or of storage that fsspec reaches, but no stream."""

from __future__ import annotations

from crwedge.core.errors import SourceError
from crwedge.core.remote import is_remote_file
from crwedge.core.uri import redact, scheme_of

_LIVE = ("rtsp", "rtsps", "srt", "tcp", "udp", "v4l2", "csi", "mqtt", "mqtts")


def is_remote(path: str) -> bool:
    """Whether a path is a URI of other storage than this machine's files.

    Raises:
        SourceError: it is a stream, which has no end.
    """
    if scheme_of(path) in _LIVE:
        raise SourceError(f"{redact(path)} is a stream; `crwedge batch` takes recorded videos, `crwedge track` streams")
    return is_remote_file(path)
