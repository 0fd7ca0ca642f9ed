"""The application: routes, errors and safety put together."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

import crwedge
from crwedge.core.errors import CrwedgeError
from crwedge.core.id_pictures import PictureError
from crwedge.runtime.web.access import Access
from crwedge.runtime.web.desk import Desk, NotHereError
from crwedge.runtime.web.film_desk import FilmDesk
from crwedge.runtime.web.guard import Guard
from crwedge.runtime.web.held_frames import FrameGoneError
from crwedge.runtime.web.routes_film import film_routes
from crwedge.runtime.web.routes_frames import frame_routes
from crwedge.runtime.web.routes_run import run_routes
from crwedge.runtime.web.schemas import Problem

_log = logging.getLogger("crwedge")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 409, 413, 415, 421, 422, 429)
}


def create_app(
    desk: Desk, access: Access, *, hosts: Iterable[str] = (), loopback: bool = True, mode: str = "track"
) -> Guard:
    """The guarded application of a desk.

    Args:
        desk: the state behind the page; the caller closes it.
        access: tokens and sessions.
        hosts: see `Guard`.
        loopback: see `Guard`.
        mode: `paint` where the page ends with the first mask.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(
        title="crwedge",
        version=crwedge.__version__,
        description="Paint masks, follow objects, correct them. See docs/serve.md.",
        openapi_url="/api/openapi.json",
        # The usual pages of documentation load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    app.include_router(run_routes(desk, access, mode))
    app.include_router(frame_routes(desk))
    app.include_router(film_routes(desk if isinstance(desk, FilmDesk) else None))
    _add_assets(app)
    _add_errors(app)
    document = _document(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    return Guard(app, access, hosts, loopback)


def _add_assets(app: FastAPI) -> None:
    folder = resources.files("crwedge.runtime.web") / "assets"
    # The names are read once: nothing that a request says is ever made a path.
    names = {one.name: one for one in folder.iterdir() if one.is_file() and _kind(one.name) is not None}

    def answer(name: str) -> Response:
        if name not in names:
            raise HTTPException(404, "there is no such file")
        return Response(names[name].read_bytes(), media_type=_kind(name), headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return answer("index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return answer("favicon.ico") if "favicon.ico" in names else Response(status_code=204)

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        return answer(name)


def _kind(name: str) -> str | None:
    return next((kind for suffix, kind in _KINDS.items() if name.endswith(suffix)), None)


def _methods(app: FastAPI, request: Request) -> set[str]:
    found: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, in which every refusal is JSON whatever the route answers else."""
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in found["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    answer["content"] = problem
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    return found


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(CrwedgeError)
    async def ours(_: Request, error: CrwedgeError) -> JSONResponse:
        missing = isinstance(error, NotHereError | FrameGoneError)
        # What is well formed and still refused does not go with what is there now.
        status = 404 if missing else 422 if isinstance(error, PictureError) else 409
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        # What was sent is not sent back: it may be anything.
        return JSONResponse({"detail": ascii(f"{place}: {first['msg']}")[1:-1]}, 422)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            # Starlette names the methods of the first route of a path alone.
            headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return JSONResponse({"detail": error.detail}, error.status_code, headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": "internal error of the server; see its log"}, 500)
