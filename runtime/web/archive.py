"""Folders of masks as one file."""

from __future__ import annotations

import zipfile
from pathlib import Path

from crwedge.core.files import atomic_path


def zip_masks(folder: Path, target: Path) -> Path:
    """The PNG of a folder in a zip; they are compressed already, so they are stored."""
    with atomic_path(target) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for mask in sorted(folder.glob("*.png")):
            archive.write(mask, mask.name)
    return target
