"""The default outputs."""

from __future__ import annotations

import logging
import os
import sys
from importlib.util import find_spec

from crwedge.core.packages import install_command


def default_outputs(live: bool) -> list[str]:
    """A window for a live source, or standard output where there is none; the folder `masks` for other sources."""
    if not live:
        return ["masks"]
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and find_spec("cv2") is not None:
        return ["window"]
    missing = f"OpenCV is not installed ({install_command('window')})" if screen else "there is no screen"
    logging.getLogger("crwedge").info(
        "note: %s, so JSON Lines go to standard output; choose another output with --out", missing
    )
    return ["-"]
