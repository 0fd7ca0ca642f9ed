"""The page of a recorded film: any frame, painting, propagation both ways, merging, downloads."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crwedge.core.errors import SourceError
from crwedge.core.labels import region_iou
from crwedge.core.scene import Scene
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.sources.paced import PacedSource
from crwedge.runtime.sources.random_access import RandomAccess
from crwedge.runtime.web.film_labels import FilmLabels
from tests.streaming.parts import ListSource
from tests.unit.conftest import write_video
from tests.web.conftest import FRAMES, Page, film_page, ids_of, png, wait_for


def paint(client: Any, number: int, ids: np.ndarray) -> str:
    held = client.post("/api/freeze", json={"frame": number}).json()
    assert held["index"] == number
    answer = client.put(
        f"/api/frames/{held['frame_id']}/draft", content=png(ids), headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 200, answer.text
    return str(held["frame_id"])


def propagate(client: Any, frame_id: str, direction: str) -> None:
    answer = client.post("/api/video/propagate", json={"frame_id": frame_id, "direction": direction})
    assert answer.status_code == 202, answer.text
    wait_for(lambda: client.get("/api/state").json()["job"] is None)
    assert client.get("/api/state").json()["recording_error"] is None


def test_paint_in_the_middle_and_propagate_both_ways(film: Page, scene: Scene) -> None:
    with film.client() as client:
        state = client.get("/api/state").json()
        assert (state["source"]["live"], state["source"]["frames"]) == (False, FRAMES)
        assert client.get("/api/video/labels").json() == {"labelled": [], "painted": []}
        assert client.get("/api/video/labels/3.png").status_code == 404
        assert client.get(f"/api/video/frames/{FRAMES}.jpg").status_code == 404
        assert ids_of(client.get("/api/video/frames/5.jpg").content).shape == (96, 128, 3)
        frame_id = paint(client, 6, scene.masks[6])
        propagate(client, frame_id, "both")
        assert client.get("/api/video/labels").json() == {"labelled": [[0, FRAMES - 1]], "painted": [6]}
        for number in range(FRAMES):
            ids = ids_of(client.get(f"/api/video/labels/{number}.png").content)
            assert region_iou(ids, scene.masks[number], (1, 2)).mean() > 0.5, number
        np.testing.assert_array_equal(ids_of(client.get("/api/video/labels/6.png").content), scene.masks[6])
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/download/masks.zip").content))
        assert archive.namelist() == [f"{n:05d}.png" for n in range(FRAMES)]
        lines = [json.loads(line) for line in client.get("/api/download/masks.jsonl").text.splitlines()]
        assert [line["frame"] for line in lines] == list(range(FRAMES))
        assert client.get("/api/download/overlay.mp4").content[4:8] == b"ftyp"
        assert {frame["index"] for frame in client.get("/api/timeline").json()["frames"]} == set(range(FRAMES)) - {6}


def test_a_second_painted_frame_corrects_its_neighbours_alone(film: Page, scene: Scene) -> None:
    with film.client() as client:
        propagate(client, paint(client, 0, np.where(scene.masks[0] == 1, 1, 0)), "forward")
        before = [ids_of(client.get(f"/api/video/labels/{n}.png").content) for n in range(FRAMES)]
        added = np.where(scene.masks[10] == 2, 2, before[10])
        propagate(client, paint(client, 10, added), "both")
        after = [ids_of(client.get(f"/api/video/labels/{n}.png").content) for n in range(FRAMES)]
        for number in range(FRAMES):
            # The new object is where the frame is nearer to frame 10; the old one is everywhere.
            assert bool((after[number] == 2).any()) == (number >= 5), number
            assert (after[number] == 1).any(), number
            if number < 5:
                np.testing.assert_array_equal(before[number], after[number])
        assert client.get("/api/video/labels").json()["painted"] == [0, 10]
        np.testing.assert_array_equal(after[0], before[0])


def test_what_is_erased_from_a_frame_stays_away(film: Page, scene: Scene) -> None:
    with film.client() as client:
        empty = np.zeros_like(scene.masks[0])
        answer = client.post(f"/api/frames/{paint(client, 7, empty)}/apply", json={})
        assert (answer.status_code, "empty" in answer.json()["detail"]) == (409, True)
        first = paint(client, 0, scene.masks[0])
        propagate(client, first, "forward")
        # Object 2 is hidden on frame 5, and nothing is to be seen on frame 7.
        for number, ids in ((5, np.where(scene.masks[5] == 1, 1, 0)), (7, empty)):
            answer = client.post(f"/api/frames/{paint(client, number, ids)}/apply", json={})
            assert answer.json() == {"index": number}
        propagate(client, first, "forward")
        shown = {n: set(np.unique(ids_of(client.get(f"/api/video/labels/{n}.png").content))) for n in (4, 5, 7, 8)}
        assert shown == {4: {0, 1, 2}, 5: {0, 1}, 7: {0}, 8: {0, 1, 2}}
        assert client.get("/api/video/labels").json()["painted"] == [0, 5, 7]
        assert ids_of(client.get("/api/download/init.png").content).any()
        answer = client.post("/api/video/propagate", json={"frame_id": "7", "direction": "both"})
        assert (answer.status_code, "has no object" in answer.json()["detail"]) == (409, True)


def test_cancel_busy_and_remove(film: Page, scene: Scene) -> None:
    with film.client() as client:
        frame_id = paint(client, 0, scene.masks[0])
        body = {"frame_id": frame_id, "direction": "forward"}
        assert client.post("/api/video/propagate", json=body).status_code == 202
        busy = client.post("/api/video/propagate", json=body)
        assert busy.status_code in (202, 409)
        assert client.post("/api/video/cancel").status_code == 202
        wait_for(lambda: client.get("/api/state").json()["job"] is None)
        assert client.delete("/api/objects/2").status_code == 202
        assert 2 not in ids_of(client.get("/api/video/labels/0.png").content)
        assert client.delete("/api/objects/2").status_code == 404
        assert client.post("/api/recording", json={"on": True}).status_code == 409
        nothing = client.post("/api/video/propagate", json={"frame_id": "3", "direction": "both"})
        assert nothing.status_code == 404


def test_work_on_a_film_is_there_again(folder: Path, tmp_path: Path, scene: Scene) -> None:
    with film_page(folder, tmp_path) as first, first.client() as client:
        frame_id = paint(client, 4, scene.masks[4])
        assert client.post(f"/api/frames/{frame_id}/apply", json={}).json() == {"index": 4}
        later = paint(client, 9, scene.masks[9])
    with film_page(folder, tmp_path) as second, second.client() as client:
        assert client.get("/api/video/labels").json() == {"labelled": [[4, 4]], "painted": [4]}
        assert client.get("/api/draft").json()["frame_id"] == later
        np.testing.assert_array_equal(ids_of(client.get(f"/api/frames/{later}/draft").content), scene.masks[9])


def test_any_frame_of_a_film_by_its_number(tmp_path: Path, scene: Scene) -> None:
    path = write_video(tmp_path / "film.mp4", scene.frames, gop=5)
    with open_source(path) as source:
        whole = {frame.index: frame for frame in source}
    with RandomAccess(open_source(path)) as frames:
        assert frames.length == FRAMES
        for number in (3, 4, 15, 0, 9, 8, 7, 15, 5):
            frame = frames.frame(number)
            np.testing.assert_array_equal(frame.image, whole[number].image)
            assert frame.index == number
            assert frame.pts == pytest.approx(whole[number].pts)
        with pytest.raises(SourceError, match="no frame 16"):
            frames.frame(16)
    with pytest.raises(SourceError, match="save it as a file"):
        RandomAccess(ListSource(3))


def test_a_film_plays_as_a_camera(folder: Path) -> None:
    with PacedSource(RandomAccess(open_source(folder)), 200.0) as source:
        got = []
        for frame in source:
            got.append((frame.index, frame.after_gap))
            if len(got) == FRAMES + 2:
                source.interrupt()
    assert got == [(n, n == FRAMES) for n in range(FRAMES + 2)]


def test_merging_of_labels(tmp_path: Path) -> None:
    labels = FilmLabels(tmp_path)
    one, two, three = (np.full((4, 4), i, np.uint8) for i in (1, 2, 3))
    labels.paint(5, one)
    assert not labels.offer(5, two, 0)
    assert labels.offer(6, two, 3)
    assert not labels.offer(6, three, 4)
    assert labels.offer(6, three, 3)
    assert labels.offer(6, one, 1)
    labels.save()
    again = FilmLabels(tmp_path)
    assert (again.ranges, again.painted, again.objects) == ([(5, 6)], [5], (1,))
    assert not again.offer(6, two, 2)
    patch = np.zeros((4, 4), np.uint8)
    patch[0] = 2
    patch[1] = 255
    # What was erased is gone; what is void stays as it was.
    np.testing.assert_array_equal(again.paint(5, patch)[:3, 0], [2, 1, 0])
    again.remove(1)
    assert again.objects == (2,)
    assert 1 not in np.asarray(again.get(6))
