"""Cameras by name: the alias table of the user's configuration, and what this machine has."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from crwedge.core.errors import SettingError
from crwedge.core.user_folders import config_home

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def config_file() -> Path:
    """The user's configuration: $CRWEDGE_CONFIG, else config.toml in the user's configuration folder."""
    if path := os.environ.get("CRWEDGE_CONFIG"):
        return Path(path)
    return config_home() / "crwedge" / "config.toml"


def camera_aliases() -> dict[str, str]:
    """The table `[cameras]` of the configuration: lines such as `camera0 = "rtsp://10.0.0.7/live"`.

    Raises:
        SettingError: the file is not TOML, or an alias is not a string.
    """
    path = config_file()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("cameras", {})
    except OSError:
        # A home folder that may not be entered is one without a configuration.
        return {}
    except ValueError as error:
        raise SettingError(f"{path} is not a TOML file ({error}); correct it") from error
    for name, address in table.items() if isinstance(table, dict) else [("cameras", table)]:
        if not isinstance(address, str):
            raise SettingError(f'{path}: {name} = {address!r}; in the table [cameras] write  name = "address"')
    return dict(table)


def resolve_camera(source: str) -> str:
    """The address behind an alias; `cameraN` without one is /dev/videoN; anything else stays as it is.

    Options of the camera (`camera0#size=480x640`) go with it.
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
