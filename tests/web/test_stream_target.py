"""The page of a stream that looks for the objects of a target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crwedge.cli import run
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime.target import Target, TargetFrame, write_target
from tests.web.conftest import OPTIONS, SERVER, import_or_skip, stream_page, wait_for
from tests.web.test_commands import Program
from tests.web.test_stream_page import follow

for module in SERVER:
    import_or_skip(module)
SIZE = 160, 284


@pytest.fixture(scope="module")
def there() -> Scene:
    return render_scene(16, *SIZE, objects=2, seed=7)


@pytest.fixture(scope="module")
def elsewhere() -> Scene:
    """Another place with other objects."""
    return render_scene(16, *SIZE, objects=2, seed=3)


@pytest.fixture
def target(tmp_path: Path, there: Scene) -> Path:
    path = tmp_path / "dog.target"
    mask = there.masks[0]
    write_target(path, Target((TargetFrame(there.frames[0], mask),), {1: "dog", 2: "cat"}))
    return path


def write_frames(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(frames):
        Image.fromarray(pixels).save(folder / f"{number:05d}.png")
    return folder


def seen(client: Any) -> dict[int, tuple[str, str | None, int]]:
    """Name, state and area of the objects by id."""
    return {one["id"]: (one["name"], one["state"], one["area"]) for one in client.get("/api/state").json()["objects"]}


def test_a_viewer_sees_what_is_looked_for_and_may_end_it(tmp_path: Path, target: Path, elsewhere: Scene) -> None:
    film = write_frames(tmp_path / "film", elsewhere.frames)
    options = replace(OPTIONS, targets=(target,))
    with stream_page(film, tmp_path / "desk", options=options) as page, page.client() as client:
        wait_for(lambda: client.get("/api/timeline").json()["frames"])
        assert seen(client) == {1: ("dog", "searching", 0), 2: ("cat", "searching", 0)}
        assert client.get("/api/state").json()["tracking"] is True
        assert client.delete("/api/objects/1").status_code == 202
        wait_for(lambda: seen(client) == {2: ("cat", "searching", 0)})
        # What is painted is followed beside what is looked for.
        follow(client, elsewhere, replace=False, only=1)
        wait_for(lambda: seen(client).get(1, ("", None, 0))[1] in ("ok", "recovering", "lost"))
        assert seen(client)[2] == ("cat", "searching", 0)
        assert client.post("/api/stop").status_code == 202
        wait_for(lambda: not client.get("/api/state").json()["tracking"])
        index = client.get("/api/state").json()["frame"]["index"]
        wait_for(lambda: client.get("/api/state").json()["frame"]["index"] > index + 2)
        assert not client.get("/api/state").json()["tracking"]


def test_serve_starts_what_a_target_shows(tmp_path: Path, target: Path, there: Scene, elsewhere: Scene) -> None:
    inside = (there.masks == 1)[..., None]
    came = np.where(inside, there.frames, elsewhere.frames)
    film = write_frames(tmp_path / "film", came)
    program = Program(
        tmp_path, "serve", str(film), "--play", "--listen", "0", "--target", str(target), "--threads", "1"
    )
    try:
        with program.client() as client:
            wait_for(lambda: seen(client).get(1, ("", None, 0))[1] == "ok")
            found = seen(client)
        assert found[1][0] == "dog"
        assert found[1][2] > 0.5 * inside[0].sum()
        assert found[2] == ("cat", "searching", 0)
    finally:
        assert program.end() == 143


def test_a_film_on_the_page_takes_no_target(
    tmp_path: Path, target: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", str(folder), "--target", str(target), "--listen", "0"]) == 2
    assert "add --play" in capsys.readouterr().err
