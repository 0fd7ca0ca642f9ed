"""Without the packages of the page, or without a browser, its tests are skipped with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
import pytest
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # an import of it fails as if it were not installed
sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[2:]]))
"""
TESTS = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "files", "reason"),
    [
        ("httpx", ("test_film_page", "test_commands", "test_safety"), "httpx is not"),
        ("fastapi", ("test_film_page", "test_browser_page", "test_browser"), "fastapi is not"),
        ("selenium", ("test_browser_page", "test_browser_erase"), "selenium is not"),
        ("none", ("test_browser_touch", "test_browser_erase"), "Chromium or its driver is missing"),
    ],
)
def test_tests_are_skipped_with_the_reason(tmp_path: Path, missing: str, files: tuple[str, ...], reason: str) -> None:
    paths = [str(TESTS / f"{name}.py") for name in files]
    environment = {**os.environ, "PATH": str(tmp_path)}  # no browser either
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, *paths],
        capture_output=True,
        text=True,
        env=environment,
        cwd=TESTS.parents[1],
    )
    assert done.returncode in (0, 5), done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert " error" not in done.stdout
    assert reason in done.stdout
