"""The page of a stream: preview, freeze, paint, follow, correct, record, stop, begin anew."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crwedge.core.labels import region_iou
from crwedge.core.scene import Scene
from tests.web.conftest import FRAMES, Page, ids_of, png, stream_page, wait_for

connect = pytest.importorskip("websockets.sync.client", reason="websockets is not installed").connect


def freeze(client: Any) -> dict[str, Any]:
    answer = client.post("/api/freeze", json={})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def paint(client: Any, frame_id: str, ids: np.ndarray) -> None:
    answer = client.put(f"/api/frames/{frame_id}/draft", content=png(ids), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text


def follow(client: Any, scene: Scene, replace: bool = True, only: int | None = None) -> dict[str, Any]:
    held = freeze(client)
    mask = scene.masks[held["index"] % FRAMES]
    paint(client, held["frame_id"], mask if only is None else np.where(mask == only, mask, 0))
    answer = client.post(f"/api/frames/{held['frame_id']}/apply", json={"replace": replace})
    assert answer.status_code == 202, answer.text
    return held


def tracking(client: Any) -> Any:
    state = client.get("/api/state").json()
    return state if state["tracking"] else None


def test_from_preview_to_masks_and_back(page: Page, scene: Scene) -> None:
    with page.client() as client:
        state = client.get("/api/state").json()
        assert (state["source"]["width"], state["source"]["height"], state["source"]["live"]) == (128, 96, True)
        assert (state["tracking"], state["objects"], state["job"]) == (False, [], None)
        held = freeze(client)
        picture = ids_of(client.get(f"/api/frames/{held['frame_id']}.png").content)
        np.testing.assert_array_equal(picture, scene.frames[held["index"] % FRAMES])
        assert not ids_of(client.get(f"/api/frames/{held['frame_id']}/labels.png").content).any()
        assert client.get(f"/api/frames/{held['frame_id']}.jpg").headers["content-type"] == "image/jpeg"

        follow(client, scene)
        state = wait_for(lambda: tracking(client))
        assert client.put("/api/objects", json=[{"id": 1, "name": "Ball", "color": "#112233"}]).status_code == 200
        assert client.post("/api/recording", json={"on": True}).json()["recording"] is True
        wait_for(lambda: client.get("/api/state").json()["recorded_frames"] >= 3)
        assert client.post("/api/recording", json={"on": False}).json()["recording"] is False
        names = {one["id"]: (one["name"], one["color"]) for one in client.get("/api/state").json()["objects"]}
        assert names[1] == ("Ball", "#112233")
        assert names[2][0] == "object 2"

        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/download/masks.zip").content))
        lines = [json.loads(line) for line in client.get("/api/download/masks.jsonl").text.splitlines()]
        assert len(archive.namelist()) == len(lines) >= 3
        for line in lines:
            ids = ids_of(archive.read(f"{line['index']:05d}.png"))
            assert region_iou(ids, scene.masks[line["frame"] % FRAMES], (1, 2)).mean() > 0.4
        assert client.get("/api/download/overlay.mp4").content[4:8] == b"ftyp"
        assert set(np.unique(ids_of(client.get("/api/download/init.png").content))) == {0, 1, 2}
        frames = client.get("/api/timeline").json()["frames"]
        assert {"state", "confidence", "area"} == frames[-1]["objects"]["1"].keys()
        assert client.get(f"/api/timeline?since={frames[-1]['index']}").json()["frames"] != frames

        assert client.post("/api/stop").status_code == 202
        wait_for(lambda: not tracking(client))
        before = client.get("/api/state").json()["frame"]["index"]
        wait_for(lambda: client.get("/api/state").json()["frame"]["index"] > before)
        follow(client, scene, only=2)
        state = wait_for(lambda: tracking(client))
        assert [one["id"] for one in state["objects"] if one["area"]] == [2]
    # The numbers of the outputs go on over the stop, so that no mask is written over another.
    assert page.session is not None


def test_objects_are_added_corrected_and_removed(page: Page, scene: Scene) -> None:
    with page.client() as client:
        follow(client, scene, only=1)
        wait_for(lambda: tracking(client))
        follow(client, scene, replace=False, only=2)
        wait_for(lambda: {o["id"] for o in client.get("/api/state").json()["objects"] if o["state"]} == {1, 2})
        assert client.delete("/api/objects/1").status_code == 202
        wait_for(lambda: {o["id"] for o in client.get("/api/state").json()["objects"] if o["state"]} == {2})
        assert client.delete("/api/objects/77").status_code == 404
        assert client.delete("/api/objects/2").status_code == 202
        wait_for(lambda: not tracking(client))


def test_the_only_object_gives_way_to_a_new_one_at_once(page: Page, scene: Scene) -> None:
    """What the page asks for when the only object was erased and another was painted."""
    with page.client() as client:
        follow(client, scene, only=1)
        wait_for(lambda: tracking(client))
        follow(client, scene, replace=False, only=2)
        assert client.delete("/api/objects/1").status_code == 202
        wait_for(lambda: {o["id"] for o in client.get("/api/state").json()["objects"] if o["state"]} == {2})
        index = client.get("/api/state").json()["frame"]["index"]
        wait_for(lambda: client.get("/api/state").json()["frame"]["index"] >= index + 3)
        assert {o["id"] for o in client.get("/api/state").json()["objects"] if o["state"]} == {2}


def test_a_frozen_frame_becomes_context_though_it_has_passed(page: Page, scene: Scene) -> None:
    """The prompt belongs to an old frame: the tracker sees that frame, and nothing is written for it."""
    with page.client() as client:
        held = freeze(client)
        number = held["index"]
        wait_for(lambda: client.get("/api/state").json()["frame"]["index"] >= number + 6)
        paint(client, held["frame_id"], scene.masks[number % FRAMES])
        assert client.post(f"/api/frames/{held['frame_id']}/apply", json={"replace": True}).status_code == 202
        wait_for(lambda: tracking(client))
        frames = wait_for(lambda: client.get("/api/timeline").json()["frames"])
        assert min(frame["index"] for frame in frames) > number


def test_live_messages(page: Page, scene: Scene) -> None:
    with page.client() as client, connect(page.url.replace("http", "ws") + "api/live") as socket:
        data = socket.recv(30)
        head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
        assert (head["width"], head["height"], head["mask_bytes"]) == (128, 96, 0)
        assert data[4 + int.from_bytes(data[:4], "little") :][:2] == b"\xff\xd8"
        follow(client, scene)

        def labelled() -> bytes | None:
            data = bytes(socket.recv(30))
            found = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
            return data if found["mask_bytes"] else None

        data = wait_for(labelled)
        start = 4 + int.from_bytes(data[:4], "little")
        head = json.loads(data[4:start])
        assert ids_of(data[start : start + head["mask_bytes"]]).shape == (96, 128)
        assert {one["id"] for one in head["objects"]} == {1, 2}
        assert client.get("/api/state").json()["viewers"] == 1
    wait_for(lambda: len(page.desk.viewers) == 0)


def test_painted_work_outlives_browser_and_server(folder: Path, tmp_path: Path, scene: Scene) -> None:
    with stream_page(folder, tmp_path / "out") as first, first.client() as client:
        assert client.get("/api/draft").json()["frame_id"] is None
        held = freeze(client)
        paint(client, held["frame_id"], scene.masks[0])
        picture = client.get(f"/api/frames/{held['frame_id']}.png").content
        client.put("/api/objects", json=[{"id": 2, "name": "Dög", "color": "#00ff00"}])
    with stream_page(folder, tmp_path / "out") as second, second.client() as client:
        frame_id = client.get("/api/draft").json()["frame_id"]
        assert frame_id == held["frame_id"]
        assert client.get(f"/api/frames/{frame_id}.png").content == picture
        np.testing.assert_array_equal(ids_of(client.get(f"/api/frames/{frame_id}/draft").content), scene.masks[0])
        assert client.get("/api/state").json()["objects"][0]["name"] == "Dög"
        assert client.post(f"/api/frames/{frame_id}/apply", json={}).status_code == 202
        wait_for(lambda: tracking(client))
        # A page that is opened later finds the run as it is.
        with second.client() as other:
            assert other.get("/api/state").json()["tracking"] is True
            assert other.get("/api/draft").json()["frame_id"] is None


def test_refusals_say_what_to_do(page: Page, scene: Scene) -> None:
    with page.client() as client:
        held = freeze(client)
        base = f"/api/frames/{held['frame_id']}"
        cases = [
            (client.post(f"{base}/apply", json={}), 409, "nothing is painted"),
            (client.get(f"{base}/draft"), 404, "nothing is painted"),
            (client.put(f"{base}/draft", content=b"x", headers={"Content-Type": "image/png"}), 422, "not a PNG"),
            (client.put(f"{base}/draft", content=png(scene.masks[0])), 415, "Content-Type"),
            (
                client.put(f"{base}/draft", content=png(np.ones((9, 9))), headers={"Content-Type": "image/png"}),
                409,
                "9x9",
            ),
            (client.get("/api/frames/0123456789ab.png"), 404, "no longer held"),
            (client.get("/api/frames/..%2f..%2fetc.png"), 404, ""),
            (client.get("/api/video/labels"), 404, "live"),
            (client.get("/api/download/masks.zip"), 404, "recorded"),
            (client.get("/api/download/init.png"), 404, "paint"),
            (client.post(f"{base}/select", json={"points": []}), 422, "points"),
            (client.post("/api/freeze", content=b"{"), 422, ""),
            (client.put("/api/objects", json=[{"id": 0, "name": "a", "color": "#000000"}]), 422, "id"),
        ]
        for answer, status, words in cases:
            assert answer.status_code == status, (answer.url, answer.text)
            assert words in answer.json()["detail"]
        paint(client, held["frame_id"], np.zeros((96, 128)))
        answer = client.post(f"{base}/apply", json={})
        assert answer.status_code == 409
        assert "empty" in answer.json()["detail"]
