"""Routes of held frames: freeze, look, click, paint, apply."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response

from crwedge.core.id_pictures import read_ids, write_ids
from crwedge.runtime.web.desk import Desk, NotHereError
from crwedge.runtime.web.pictures import jpeg, png
from crwedge.runtime.web.routes_run import outcome
from crwedge.runtime.web.schemas import Apply, Done, Draft, Freeze, Held, Selection
from crwedge.runtime.web.selector import Click

FrameId = Annotated[str, InPath(pattern=r"^[0-9a-f]{1,16}$")]
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


class PngResponse(Response):
    """A PNG."""

    media_type = "image/png"


class JpegResponse(Response):
    """A JPEG."""

    media_type = "image/jpeg"


def frame_routes(desk: Desk) -> APIRouter:
    """The routes of a desk's held frames."""
    routes = APIRouter(prefix="/api")

    @routes.post("/freeze")
    def freeze(body: Freeze) -> Held:
        """Hold the newest frame of a stream, or one of a film."""
        held = desk.hold(body.frame)
        height, width = held.size
        return Held(frame_id=held.id, width=width, height=height, index=held.frame.index)

    @routes.get("/frames/{frame_id}.png", response_class=PngResponse)
    def frame_png(frame_id: FrameId) -> Response:
        """A held frame."""
        return PngResponse(png(desk.held.get(frame_id).frame.image))

    @routes.get("/frames/{frame_id}.jpg", response_class=JpegResponse)
    def frame_jpeg(frame_id: FrameId) -> Response:
        """A held frame, smaller."""
        return JpegResponse(jpeg(desk.held.get(frame_id).frame.image, quality=90))

    @routes.get("/frames/{frame_id}/labels.png", response_class=PngResponse)
    def labels(frame_id: FrameId) -> Response:
        """Ids that were known when the frame was held; 0 everywhere where nothing was followed."""
        held = desk.held.get(frame_id)
        return PngResponse(write_ids(np.zeros(held.size, np.uint8) if held.labels is None else held.labels))

    @routes.post("/frames/{frame_id}/select", response_class=PngResponse)
    def select(frame_id: FrameId, body: Selection) -> Response:
        """The region that clicks mean, as 0 and 255."""
        held = desk.held.get(frame_id)
        clicks = [Click(point.x, point.y, point.positive) for point in body.points]
        inside = desk.selector.select(held.frame.image, clicks, body.tolerance)
        return PngResponse(png(np.where(inside, 255, 0).astype(np.uint8)))

    @routes.get("/frames/{frame_id}/draft", response_class=PngResponse)
    def get_draft(frame_id: FrameId) -> Response:
        """What was painted on a frame."""
        desk.held.get(frame_id)
        if (ids := desk.held.draft(frame_id)) is None:
            raise NotHereError("nothing is painted on this frame yet")
        return PngResponse(write_ids(ids))

    @routes.put(
        "/frames/{frame_id}/draft",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def put_draft(frame_id: FrameId, request: Request) -> Draft:
        """Keep painted ids: a PNG of the frame's size, 8-bit ids."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "image/png":
            return JSONResponse({"detail": "send the header Content-Type: image/png"}, 415)  # type: ignore[return-value]
        data = await request.body()

        def keep() -> Draft:
            held = desk.held.get(frame_id)
            desk.held.paint(held, read_ids(data, held.size))
            return Draft(frame_id=frame_id, revision=desk.changed())

        return await asyncio.to_thread(keep)

    @routes.get("/draft")
    def draft() -> Draft:
        """The frame that was painted on last and not applied yet."""
        return Draft(frame_id=desk.held.current, revision=desk.revision)

    @routes.post("/frames/{frame_id}/apply", status_code=202)
    async def apply(frame_id: FrameId, body: Annotated[Apply, Body()]) -> Done:
        """Follow what was painted, or correct and add objects with it."""
        return await outcome(await asyncio.to_thread(desk.apply, frame_id, body.replace))

    return routes
