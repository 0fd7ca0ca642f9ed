"""Routes of a recorded film: any frame, its labels, propagation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import Response

from crwedge.core.errors import SourceError
from crwedge.core.id_pictures import write_ids
from crwedge.runtime.web.desk import NotHereError
from crwedge.runtime.web.film_desk import FilmDesk
from crwedge.runtime.web.pictures import jpeg
from crwedge.runtime.web.routes_frames import JpegResponse, PngResponse
from crwedge.runtime.web.schemas import Done, Labelled, Propagate

Number = Annotated[int, InPath(ge=0, le=2**31)]


def film_routes(desk: FilmDesk | None) -> APIRouter:
    """The routes of a film; on a stream each answers 404."""
    routes = APIRouter(prefix="/api/video")

    def film() -> FilmDesk:
        if desk is None:
            raise NotHereError("the source is live: freeze a frame instead")
        return desk

    @routes.get("/frames/{number}.jpg", response_class=JpegResponse)
    def frame(number: Number) -> Response:
        """A frame of the film."""
        try:
            return JpegResponse(jpeg(film().frames.frame(number).image, quality=85))
        except SourceError as error:
            raise NotHereError(str(error)) from error

    @routes.get("/labels/{number}.png", response_class=PngResponse)
    def labels(number: Number) -> Response:
        """Ids of a frame."""
        if (ids := film().labels.get(number)) is None:
            raise NotHereError(f"frame {number} has no labels yet")
        return PngResponse(write_ids(ids))

    @routes.get("/labels")
    def labelled() -> Labelled:
        """Which frames have labels, and which were painted."""
        found = film().labels
        return Labelled(labelled=[list(run) for run in found.ranges], painted=found.painted)

    @routes.post("/propagate", status_code=202)
    def propagate(body: Propagate) -> Done:
        """Carry the labels of a painted frame on."""
        return Done(index=film().propagate(body.frame_id, body.direction))

    @routes.post("/cancel", status_code=202)
    def cancel() -> Done:
        """Stop the propagation; what was labelled stays."""
        film().cancel()
        return Done(index=None)

    return routes
