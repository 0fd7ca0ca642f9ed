"""A fake of the server's API for tests of the page alone: a rendered scene whose "tracking" shows the true masks.

It has states that a real tracker reaches only now and then (an object that is lost, a connection that breaks), always the same.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from PIL import Image

from crwedge.core.scene import Scene, render_scene

ASSETS = Path(__file__).parents[2] / "runtime/web/assets"
CSP = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
COLOURS = ("#ff3232", "#28e13c", "#ffdc1e")


def picture(array: np.ndarray, kind: str = "PNG") -> bytes:
    """The bytes of a picture file of `array`."""
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


@cache
def _scene() -> Scene:
    return render_scene(frames=24, height=360, width=640)


class FakeServer:
    """State and routes. Tests read and set the attributes.

    Args:
        live: a camera; else a recorded file.
        scene: what it shows; one of two objects when left out.
    """

    def __init__(self, live: bool = True, scene: Scene | None = None) -> None:
        self.scene = scene or _scene()
        self.live, self.tracking, self.recording = live, False, False
        self.objects: dict[int, dict[str, Any]] = {}
        self.states: dict[int, tuple[str, float]] = {}
        self.drafts: dict[str, bytes] = {}
        self.calls: list[tuple[str, Any]] = []
        self.draft_id: str | None = None
        self.index = self.recorded = 0
        self.labelled: list[list[int]] = []
        self.painted: list[int] = []
        self.frozen = 0
        self.job: dict[str, Any] | None = None
        self.pictures = True
        self.delay = 0.0
        self.token: str | None = None
        self.app = FastAPI()
        self._routes()

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`, to and fro."""
        frame: np.ndarray = self.scene.frames[self._place(index)]
        return frame

    def truth(self, index: int) -> np.ndarray:
        """The true ids of frame `index`."""
        mask: np.ndarray = self.scene.masks[self._place(index)]
        return mask

    def _place(self, index: int) -> int:
        count = len(self.scene.frames)
        return abs((index + count - 1) % (2 * count - 2) - count + 1)

    def mask(self, index: int) -> np.ndarray:
        """What the fake shows as tracked in frame `index`."""
        mask = self.truth(index).copy()
        shown = [number for number in self.objects if self.states.get(number, ("ok", 1))[0] != "lost"]
        mask[~np.isin(mask, shown)] = 0
        return mask if self.tracking or self.labelled else mask * 0

    def seen(self) -> list[dict[str, Any]]:
        """The objects with their states."""
        out = []
        for number, item in self.objects.items():
            state, confidence = self.states.get(number, ("ok", 0.94 - 0.05 * number))
            wave = 0.03 * float(np.sin(self.index / 7 + number))
            known = self.tracking or bool(self.labelled)
            out.append({**item, "state": state if known else None, "confidence": confidence + wave if known else None})
        return out

    def state(self) -> dict[str, Any]:
        """The answer of /api/state."""
        height, width = self.scene.masks.shape[1:]
        return {
            "source": {
                "name": "camera0" if self.live else "street.mp4", "live": self.live, "width": width, "height": height,
                "frames": None if self.live else len(self.scene.frames), "fps": 25.0,
            },
            "model": {"name": "default", "preset": "edge"}, "tracking": self.tracking, "recording": self.recording,
            "objects": self.seen(), "frame": {"index": self.index, "time": self.index / 25} if self.live else None,
            "region": self.region(), "fps": 24.8, "latency_ms": 31.0, "dropped": 3, "viewers": 1, "revision": 1,
            "recorded_frames": self.recorded, "job": self.job,
        }  # fmt: skip

    def message(self) -> bytes:
        """The next message of the websocket."""
        self.index += 1
        self.recorded += self.recording
        mask = picture(self.mask(self.index)) if self.tracking else b""
        head = {**self.state(), "index": self.index, "time": self.index / 25, "mask_bytes": len(mask)}
        text = json.dumps({**head, "width": 640, "height": 360}).encode()
        return struct.pack("<I", len(text)) + text + mask + picture(self.frame(self.index), "JPEG")

    def region(self) -> list[int] | None:
        """The box around the masks, wider by 30 pixels."""
        ys, xs = np.nonzero(self.mask(self.index))
        if not len(ys):
            return None
        x, y = max(0, int(xs.min()) - 30), max(0, int(ys.min()) - 30)
        return [x, y, min(640, int(xs.max()) + 30) - x, min(360, int(ys.max()) + 30) - y]

    def _routes(self) -> None:
        app = self.app

        @app.middleware("http")
        async def guard(request: Request, then: Any) -> Response:
            path = request.url.path
            if request.method != "GET" and request.headers.get("x-requested-with") != "crwedge":
                return JSONResponse({"detail": "The header X-Requested-With is missing."}, 403)
            if self.token and path.startswith("/api") and path != "/api/login" and "session" not in request.cookies:
                return JSONResponse({"detail": "Log in first."}, 401)
            answer: Response = await then(request)
            answer.headers["Content-Security-Policy"] = CSP
            return answer

        @app.get("/")
        def page() -> Response:
            return asset("index.html")

        @app.get("/assets/{name}")
        def asset(name: str) -> Response:
            return Response((ASSETS / name).read_bytes(), media_type=TYPES[Path(name).suffix])

        @app.post("/api/login")
        async def login(request: Request) -> Response:
            if (await request.json())["token"] != self.token:
                return JSONResponse({"detail": "This is not the token."}, 401)
            answer = Response(status_code=204)
            answer.set_cookie("session", "1", httponly=True, samesite="strict")
            return answer

        @app.get("/api/state")
        def state() -> dict[str, Any]:
            if self.job:
                self.job["done"] = min(self.job["total"], self.job["done"] + 4)
                if self.job["done"] >= self.job["total"]:
                    self.job, self.labelled = None, [[0, len(self.scene.frames) - 1]]
                    self.recorded = len(self.scene.frames)
            return self.state()

        @app.get("/api/timeline")
        def timeline(since: int = 0) -> dict[str, Any]:
            frames: list[dict[str, Any]] = []
            if not self.live and self.labelled:
                values = np.linspace(0.95, 0.6, len(self.scene.frames))
                frames = [
                    {"index": i, "objects": {n: {"state": "ok", "confidence": v} for n in self.objects}}
                    for i, v in enumerate(values)
                ]
            return {"frames": frames}

        @app.websocket("/api/live")
        async def live(socket: WebSocket) -> None:
            await socket.accept()
            with suppress(WebSocketDisconnect, RuntimeError):
                while self.pictures:
                    await socket.send_bytes(self.message())
                    await asyncio.sleep(0.1)
                await socket.close()

        @app.post("/api/freeze")
        async def freeze(request: Request) -> dict[str, Any]:
            self.frozen = index = (await request.json()).get("frame", self.index)
            return {"frame_id": f"{index:x}", "width": 640, "height": 360, "index": index}

        @app.get("/api/frames/{name}.png")
        def held(name: str) -> Response:
            return Response(picture(self.frame(int(name, 16))), media_type="image/png")

        @app.get("/api/frames/{name}/labels.png")
        def labels(name: str) -> Response:
            return Response(picture(self.mask(int(name, 16))), media_type="image/png")

        @app.post("/api/frames/{name}/select")
        async def select(name: str, request: Request) -> Response:
            points = (await request.json())["points"]
            truth = self.truth(int(name, 16))
            ids = {truth[int(p["y"]), int(p["x"])] for p in points if p["positive"]} - {0}
            if not ids:
                return JSONResponse({"detail": "Nothing stands out there: click on the object."}, 422)
            return Response(picture(np.isin(truth, list(ids)).astype(np.uint8) * 255), media_type="image/png")

        @app.put("/api/frames/{name}/draft")
        async def save(name: str, request: Request) -> Response:
            self.drafts[name], self.draft_id = await request.body(), name
            return Response(status_code=204)

        @app.get("/api/frames/{name}/draft")
        def read(name: str) -> Response:
            return Response(self.drafts[name], media_type="image/png")

        @app.get("/api/draft")
        def draft() -> dict[str, Any]:
            return {"frame_id": self.draft_id, "revision": 1}

        @app.put("/api/objects")
        async def objects(request: Request) -> Response:
            items = await request.json()
            await asyncio.sleep(self.delay)
            self.objects = {item["id"]: item for item in items}
            return Response(status_code=204)

        @app.delete("/api/objects/{number}")
        def remove(number: int) -> Response:
            self.objects.pop(number, None)
            return Response(status_code=204)

        @app.post("/api/frames/{name}/apply")
        async def apply(name: str, request: Request) -> Response:
            self.calls.append(("apply", {**await request.json(), "frame": name}))
            self.tracking, self.draft_id = True, None
            return JSONResponse({"index": self.index}, 202)

        @app.post("/api/stop")
        def stop() -> Response:
            self.tracking = self.recording = False
            return Response(status_code=204)

        @app.post("/api/recording")
        async def recording(request: Request) -> Response:
            self.recording = (await request.json())["on"]
            return Response(status_code=204)

        @app.get("/api/video/frames/{index}.jpg")
        def film_frame(index: int) -> Response:
            return Response(picture(self.frame(index), "JPEG"), media_type="image/jpeg")

        @app.get("/api/video/labels/{index}.png")
        def film_labels(index: int) -> Response:
            return Response(picture(self.mask(index)), media_type="image/png")

        @app.get("/api/video/labels")
        def marks() -> dict[str, Any]:
            return {"labelled": self.labelled, "painted": self.painted}

        @app.post("/api/video/propagate")
        async def propagate(request: Request) -> Response:
            sent = await request.json()
            self.calls.append(("propagate", sent))
            self.job = {"done": 0, "total": len(self.scene.frames), "direction": sent["direction"]}
            self.painted.append(int(sent["frame_id"], 16))
            return Response(status_code=202)

        @app.post("/api/video/cancel")
        def cancel() -> Response:
            self.job = None
            return Response(status_code=204)
