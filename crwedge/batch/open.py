"""The one place where storage is chosen."""

from __future__ import annotations

import os
from pathlib import Path

from crwedge.batch.local_results import LocalResults
from crwedge.batch.remote_results import RemoteResults
from crwedge.batch.results import Results
from crwedge.batch.storage import is_remote
from crwedge.runtime.sources.uri import file_path


def open_results(out: str) -> Results:
    """The results at a path or URI; nothing is created yet."""
    return RemoteResults(out) if is_remote(out) else LocalResults(Path(os.path.abspath(file_path(out))))
