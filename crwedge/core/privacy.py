"""Telemetry of dependencies, turned off before they are imported."""

from __future__ import annotations

import os
import sys

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1"}
"""Environment variable -> value. ONNX Runtime reads its own once, when it is imported; child processes inherit it."""


def turn_off_telemetry() -> None:
    """Set every switch, whatever the environment says. `import crwedge` calls this first.

    ONNX Runtime that was imported before crwedge has read its environment already: it is told to record no more events.
    """
    os.environ.update(SWITCHES)
    loaded = sys.modules.get("onnxruntime")
    if loaded is not None and hasattr(loaded, "disable_telemetry_events"):
        loaded.disable_telemetry_events()
