"""Shared fixtures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test may fail because the machine is busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data folder: real video with true masks. Set CRWEDGE_DATA, or keep it as ../shared/data."""
    folder = Path(os.environ.get("CRWEDGE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "vos").is_dir():
        pytest.skip(f"the shared data folder is absent ({folder}); set CRWEDGE_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiled kernels are kept for one run of the tests, and never in the user's own folders."""
    base = tmp_path_factory.getbasetemp()
    # Workers of pytest-xdist share what one of them has compiled.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRWEDGE_KERNELS", str(folder))
        yield folder


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Messages of the logger `crwedge` during the test."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    logger, handler = logging.getLogger("crwedge"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
