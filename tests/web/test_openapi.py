"""The API keeps to its own document: requests made from it find nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.web.conftest import Page, film_page, stream_page


def test_the_document_names_every_route(film: Page) -> None:
    with film.client() as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    assert set(paths) == {
        "/api/login", "/api/state", "/api/timeline", "/api/objects", "/api/objects/{object_id}", "/api/stop",
        "/api/recording", "/api/download/{name}", "/api/freeze", "/api/frames/{frame_id}.png", "/api/draft",
        "/api/frames/{frame_id}.jpg", "/api/frames/{frame_id}/labels.png", "/api/frames/{frame_id}/select",
        "/api/frames/{frame_id}/draft", "/api/frames/{frame_id}/apply", "/api/video/frames/{number}.jpg",
        "/api/video/labels/{number}.png", "/api/video/labels", "/api/video/propagate", "/api/video/cancel",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed: crwedge[dev]")
@pytest.mark.parametrize("kind", ["stream", "film"])
def test_requests_made_from_the_document_find_nothing(kind: str, folder: Path, tmp_path: Path) -> None:
    opened = stream_page if kind == "stream" else film_page
    with opened(folder, tmp_path / "out") as page:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{page.url}api/openapi.json", "--url", page.url),
            *("--header", "X-Requested-With: crwedge", "--max-examples", "8", "--seed", "1", "--no-color"),
            *("--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "60"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
