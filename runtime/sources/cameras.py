"""Cameras by name: the alias table of the user's configuration, and what this machine has."""

from __future__ import annotations

import os
import re
from pathlib import Path

from crwedge.core.errors import SettingError


def config_file() -> Path:
    """The user's configuration: $CRWEDGE_CONFIG, else config.toml in the user's configuration folder."""
    if path := os.environ.get("CRWEDGE_CONFIG"):
        return Path(path)
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "crwedge" / "config.toml"


def camera_aliases() -> dict[str, str]:
    """The table `[cameras]` of the configuration: lines such as `camera0 = "rtsp://10.0.0.7/live"`.

    Only such lines are read, so that no TOML package is needed on a device with Python 3.10.

    Raises:
        SettingError: the table has a line that is not of that form.
    """
    path = config_file()
    # A home folder that may not be entered is one without a configuration.
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        return {}
    aliases: dict[str, str] = {}
    inside = False
    for number, raw in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        line = raw.strip()
        if line.startswith("["):
            inside = line == "[cameras]"
        elif inside and line and not line.startswith("#"):
            match = re.fullmatch(r"""([\w.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')\s*(?:#.*)?""", line)
            if match is None:
                raise SettingError(f'{path}, line {number}: a camera is written as  name = "address"')
            aliases[match[1]] = match[2] if match[2] is not None else match[3]
    return aliases


def resolve_camera(source: str) -> str:
    """The address behind an alias; `cameraN` without one is /dev/videoN; anything else stays as it is.

    Options of the camera (`camera0#size=640x480`) go with it.
    """
    if "/" in source or os.path.lexists(source):
        return source
    name, mark, options = source.partition("#")
    aliases = camera_aliases()
    if name in aliases:
        return aliases[name] + mark + options
    if match := re.fullmatch(r"camera(\d+)", name):
        return f"v4l2:///dev/video{match[1]}{mark}{options}"
    return source


def cameras() -> list[str]:
    """Video devices of this machine."""
    return sorted(str(path) for path in Path("/dev").glob("video*"))
