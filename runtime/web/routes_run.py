"""Routes of a run: login, state, live pictures, objects, recording, downloads."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response

from crwedge.core.errors import MaskError
from crwedge.runtime.web.access import COOKIE, Access, TooManyGuessesError
from crwedge.runtime.web.desk import Desk, NotHereError
from crwedge.runtime.web.objects import NamedObject
from crwedge.runtime.web.schemas import Done, Frames, Login, ObjectName, Recording, State

_PATIENCE = 2.0
"""Seconds to wait for a command to be carried out before the answer says that it waits."""
_FILES = {
    "masks.zip": "application/zip",
    "masks.jsonl": "application/jsonl",
    "overlay.mp4": "video/mp4",
    "init.png": "image/png",
}


async def outcome(future: Future[int]) -> Done:
    """The frame that a command was carried out with, or null where it waits still; the error of a refused one."""
    wrapped = asyncio.wrap_future(future)
    try:
        return Done(index=await asyncio.wait_for(asyncio.shield(wrapped), _PATIENCE))
    except (asyncio.TimeoutError, TimeoutError):
        # Whoever asked is told that it waits; a later refusal is in the log.
        wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Done(index=None)
    except (asyncio.CancelledError, CancelledError) as error:
        if not future.cancelled():
            raise
        raise MaskError("the run has ended; start it again") from error


def run_routes(desk: Desk, access: Access, mode: str) -> APIRouter:
    """The routes of a desk."""
    routes = APIRouter(prefix="/api")

    @routes.post("/login", status_code=204, response_class=Response)
    def log_in(body: Login, request: Request) -> Response:
        """Give the token; the answer sets a cookie."""
        try:
            right = access.check_token(body.token, request.client.host if request.client else "")
        except TooManyGuessesError as error:
            return JSONResponse(
                {"detail": "too many wrong tokens: wait, then try again"}, 429, {"Retry-After": str(error.seconds)}
            )
        if not right:
            return JSONResponse({"detail": "this is not the token that the server printed at its start"}, 401)
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, access.log_in(), httponly=True, samesite="strict", path="/")
        return answer

    @routes.get("/state")
    def state() -> State:
        """The state for the page."""
        return State(**desk.state(), mode="paint" if mode == "paint" else "track")

    @routes.get("/timeline")
    def timeline(since: Annotated[int, Query(ge=-1, le=2**31)] = -1) -> Frames:
        """What is known of each object, frame by frame, after frame `since`."""
        return Frames.model_validate({"frames": desk.timeline.since(since)})

    @routes.put("/objects")
    def name_objects(body: list[ObjectName]) -> list[ObjectName]:
        """Names and colours of all objects."""
        if len({one.id for one in body}) != len(body):
            raise MaskError("an id comes twice: give each object an id of its own")
        desk.name(NamedObject(one.id, one.name, one.color) for one in body)
        return body

    @routes.delete("/objects/{object_id}", status_code=202)
    async def remove(object_id: Annotated[int, InPath(ge=1, le=254)]) -> Done:
        """Stop following an object."""
        return await outcome(await asyncio.to_thread(desk.remove, object_id))

    @routes.post("/stop", status_code=202)
    async def stop() -> Done:
        """Stop following; live pictures go on. A run through a film ends, with complete outputs."""
        return await outcome(await asyncio.to_thread(desk.stop))

    @routes.post("/recording")
    def record(body: Recording) -> State:
        """Start or stop recording what is followed on a stream."""
        desk.record(body.on)
        return state()

    @routes.get("/download/{name}", response_class=FileResponse)
    def download(name: Literal["masks.zip", "masks.jsonl", "overlay.mp4", "init.png"]) -> FileResponse:
        """Download recorded or propagated labels, or the first mask."""
        path: Path = desk.folder / "init.png" if name == "init.png" else desk.download(name)
        if not path.is_file():
            raise NotHereError("there is no mask yet: paint one and apply it")
        return FileResponse(path, media_type=_FILES[name], filename=name)

    @routes.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        viewer = desk.viewers.join()
        if viewer is None:
            await socket.close(1013, "too many viewers")
            return
        try:
            await _show(socket, viewer.get)
        finally:
            desk.viewers.leave(viewer)

    return routes


async def _show(socket: WebSocket, get: Any) -> None:
    """Send the newest picture, as often as the viewer takes one, until it leaves."""

    async def listen() -> None:
        # Nothing is expected; the call ends when the viewer has left.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass

    async def show() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            while True:
                await socket.send_bytes(await get())

    tasks = [asyncio.create_task(listen()), asyncio.create_task(show())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
