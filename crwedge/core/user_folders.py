"""The user's folders: configuration, data, cache. A home that is missing or may not be entered counts as absent."""

from __future__ import annotations

import os
from pathlib import Path

NO_HOME = Path("/nonexistent")
"""Stands for the home of a user who has none, as in Debian's list of users: nothing is there, nothing can be written."""


def home() -> Path:
    """The user's home, or `NO_HOME`."""
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and the user is in no list
        return NO_HOME


def config_home() -> Path:
    """The user's configuration folder, $XDG_CONFIG_HOME or ~/.config."""
    return _folder("XDG_CONFIG_HOME", ".config")


def data_home() -> Path:
    """Where bundles, engines and the choice of the model are kept: $CRWEDGE_HOME, else the user's data folder."""
    if path := os.environ.get("CRWEDGE_HOME"):
        return Path(path)
    return _folder("XDG_DATA_HOME", ".local/share") / "crwedge"


def cache_home() -> Path:
    """Where is kept what can be made again."""
    return _folder("XDG_CACHE_HOME", ".cache") / "crwedge"


def is_folder(path: Path) -> bool:
    """Whether a folder exists; False also where access is denied."""
    return os.path.isdir(path)


def is_file(path: Path) -> bool:
    """Whether a file exists; False also where access is denied."""
    return os.path.isfile(path)


def _folder(variable: str, usual: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else home() / usual
