"""Which bundle to use when none was named."""

from __future__ import annotations

import os
from pathlib import Path

from crwedge.core.bundle import MANIFEST, Bundle
from crwedge.core.errors import BundleError


def data_home() -> Path:
    """Where `crwedge export` writes by default: $CRWEDGE_HOME, else the user's data folder."""
    if home := os.environ.get("CRWEDGE_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "crwedge"


def bundles_home() -> Path:
    """The folder of the bundles that `crwedge export` wrote."""
    return data_home() / "bundles"


def shipped_bundle() -> Path:
    """The encoder that comes with the package."""
    import crwedge

    return Path(crwedge.__file__).parent / "assets" / "encoder"


def find_bundle(model: str | Path | None = None) -> Bundle:
    """The bundle `model` names, or the newest exported one, or the shipped one.

    A name without a slash is looked for in the current folder and then among the exported bundles.
    """
    if model is not None:
        path = Path(model)
        if not path.exists() and len(path.parts) == 1 and (bundles_home() / path).is_dir():
            path = bundles_home() / path
        if path.is_file() and path.suffix == ".onnx":
            raise BundleError(f"{path} is a lone ONNX file; give the bundle's folder")
        return Bundle.open(path)
    home = bundles_home()
    exported = [p for p in home.iterdir() if (p / MANIFEST).is_file()] if home.is_dir() else []
    if exported:
        return Bundle.open(max(exported, key=lambda p: (p / MANIFEST).stat().st_mtime_ns))
    return Bundle.open(shipped_bundle())
