"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data folder: real video with true masks. Set CRWEDGE_DATA, or keep it as ../shared/data."""
    folder = Path(os.environ.get("CRWEDGE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "vos").is_dir():
        pytest.skip(f"the shared data folder is absent ({folder}); set CRWEDGE_DATA")
    return folder
