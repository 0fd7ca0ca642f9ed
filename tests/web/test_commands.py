"""The commands of the page as programs of their own: serve, track --serve, grab, paint."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crwedge.cli import run
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.scene import Scene
from tests.web.conftest import SERVER, ids_of, import_or_skip, png, wait_for

for module in SERVER:
    import_or_skip(module)
httpx = import_or_skip("httpx")


class Program:
    """A command that runs, and the address that it tells."""

    def __init__(self, tmp_path: Path, *words: str, **more: str) -> None:
        self._log = tmp_path / "program.log"
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "crwedge", *words], stderr=log, stdout=log, cwd=tmp_path, env=environment
            )
        found = wait_for(lambda: re.search(r"open (http://\S+)", self.told) or self.process.poll() is not None)
        assert found is not True, self.told
        self.url = found[1]

    @property
    def told(self) -> str:
        """All that it has printed."""
        return self._log.read_text()

    def client(self) -> Any:
        """A program that talks to it."""
        base = self.url.partition("#")[0]
        return httpx.Client(base_url=base, headers={"X-Requested-With": "crwedge"}, timeout=60)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


def test_grab_saves_a_frame(tmp_path: Path, folder: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grab", str(folder), str(tmp_path / "new" / "frame.png"), "--frame", "3"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "frame.png")), scene.frames[3])
    capsys.readouterr()
    for words, text in (
        (["grab", str(folder), str(tmp_path / "new" / "frame.png")], "exists"),
        (["grab", str(folder), str(tmp_path / "frame.jpg")], "PNG"),
        (["grab", str(folder), str(tmp_path / "f.png"), "--frame", "99"], "no frame 99"),
    ):
        assert run(words) == 2
        assert text in capsys.readouterr().err


def test_paint_waits_for_the_mask_writes_it_and_ends(tmp_path: Path, folder: Path, scene: Scene) -> None:
    program = Program(tmp_path, "paint", str(folder), "init.png", "--frame", "frame.png", "--listen", "0")
    with program.client() as client:
        assert client.get("/api/state").json()["mode"] == "paint"
        frame_id = client.post("/api/freeze", json={"frame": 5}).json()["frame_id"]
        draft = f"/api/frames/{frame_id}/draft"
        client.put(draft, content=png(scene.masks[5]), headers={"Content-Type": "image/png"})
        assert client.post(f"/api/frames/{frame_id}/apply", json={}).status_code == 202
    assert program.process.wait(60) == 0
    np.testing.assert_array_equal(read_mask(tmp_path / "init.png"), scene.masks[5])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frame.png")), scene.frames[5])


def test_serve_keeps_the_token_to_itself(tmp_path: Path, folder: Path) -> None:
    token = "a-secret-that-is-long"
    program = Program(tmp_path, "serve", str(folder), "--play", "--listen", "0.0.0.0:0", CRWEDGE_TOKEN=token)
    assert program.told.count(token) == 1
    assert program.url.endswith(f"#token={token}")
    port = re.search(r":(\d+)/", program.url)
    assert port is not None
    with httpx.Client(base_url=f"http://127.0.0.1:{port[1]}", headers={"X-Requested-With": "crwedge"}) as client:
        assert client.get("/api/state").status_code == 401
        assert client.post("/api/login", json={"token": token}).status_code == 204
        assert client.get("/api/state").status_code == 200
    assert program.end(signal.SIGINT) == 130
    assert program.told.count(token) == 1


def test_a_run_that_is_under_way_is_shown_and_steered(tmp_path: Path, folder: Path, scene: Scene) -> None:
    """The frames of a file are followed to their end, more slowly than they come: the page has time to see them."""
    write_mask(tmp_path / "init.png", scene.masks[0])
    for copy in range(60):
        for index in range(len(scene.frames)):
            target = tmp_path / "long" / f"{copy:03d}{index:03d}.png"
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(folder / f"{index:05d}.png")
    words = ("track", "long", "--mask", "init.png", "--out", "masks", "--serve", "0", "--set", "threads=1")
    program = Program(tmp_path, *words)
    with program.client() as client:
        state = wait_for(lambda: (s := client.get("/api/state").json())["tracking"] and s)
        assert {one["id"] for one in state["objects"]} == {1, 2}
        held = client.post("/api/freeze", json={}).json()
        labels = ids_of(client.get(f"/api/frames/{held['frame_id']}/labels.png").content)
        assert {1, 2} <= set(np.unique(labels))
        assert client.delete("/api/objects/2").status_code == 202
        wait_for(lambda: [o["id"] for o in client.get("/api/state").json()["objects"]] == [1])
        # A film is followed to its end, and there is no preview to go back to: the run ends in good order.
        assert client.post("/api/stop").status_code == 202
    assert program.process.wait(60) == 0
    assert "written to masks" in program.told, program.told
    masks = sorted(p.name for p in (tmp_path / "masks").iterdir())
    assert masks[0] == "000000.png"
