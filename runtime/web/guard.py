"""Checks of every request: host, origin, login, size. It is ASGI middleware, so that it covers WebSockets too."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from crwedge.runtime.web.access import COOKIE, Access, TooManyGuessesError
from crwedge.runtime.web.limits import MOST_JSON, MOST_PICTURE

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 5.0
"""Seconds to wait for more of a body that is refused."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_CSRF = "crwedge"
"""What the header X-Requested-With says; a form of another page cannot send it."""


class Guard:
    """Refuses requests that the page would not send, and adds the security headers to every answer.

    Args:
        app: what is guarded.
        access: tokens and sessions.
        hosts: names that the server is called by, beside addresses and `localhost`. A name that is none of them may have
            been bound to this machine's address by somebody else (DNS rebinding).
        loopback: whether only this machine is served: then only its own addresses count.
    """

    def __init__(self, app: Any, access: Access, hosts: Iterable[str] = (), loopback: bool = True) -> None:
        self._app, self._access, self._loopback = app, access, loopback
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for raw_name, raw in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            if name in headers and name in ("host", "origin"):
                await _refuse(scope, receive, send, 400, f"the header {name} was sent twice")
                return
            headers[name] = raw.decode("latin-1")
        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        if scope["method"] not in _SAFE:
            most = MOST_PICTURE if scope["path"].endswith("/draft") else MOST_JSON
            body = await _read(receive, headers, most)
            if body is None:
                await _answer(scope, send, 413, f"the body is larger than {most >> 20} MiB")
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, _with_headers(scope, send))

    def _refusal(self, scope: dict[str, Any], headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, "the page is not served under this name: open it by its address, or start with --allow-host", {}
        origin = headers.get("origin")
        if origin is not None and not _same(origin, host):
            return 403, "another page may not use this server", {}
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and (
            scope["type"] == "websocket" or scope["method"] not in _SAFE or scope["path"].startswith("/api/")
        ):
            return 403, "another page may not use this server", {}
        mutates = scope["type"] == "http" and scope["method"] not in _SAFE
        path = scope["path"]
        locked = path.startswith("/api/") and path != "/api/login"
        if locked and (refusal := self._login_refusal(scope, headers)) is not None:
            return refusal
        if mutates and headers.get("x-requested-with") != _CSRF:
            return 403, f"send the header X-Requested-With: {_CSRF}", {}
        return None

    def _login_refusal(self, scope: dict[str, Any], headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        if self._access.open or self._access.knows(session_of(headers.get("cookie", ""))):
            return None
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            try:
                if self._access.check_token(token.strip(), (scope.get("client") or ("", 0))[0]):
                    return None
            except TooManyGuessesError as error:
                return 429, "too many wrong tokens: wait, then try again", {"Retry-After": str(error.seconds)}
        return 401, "log in with the token that the server printed at its start", {"WWW-Authenticate": "Bearer"}

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            _ = urlsplit(f"//{host}").port
        except ValueError:
            return False
        if not host or any(sign in host for sign in "/@?#\\"):
            return False
        if name == "localhost" or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback


def session_of(cookie: str) -> str:
    """The session that the header `Cookie` names; empty where it names none."""
    try:
        found = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


async def _read(receive: Any, headers: dict[str, str], most: int) -> bytes | None:
    """The whole body; None where it is too large. A client that went away leaves what it had sent."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        await _discard(receive)
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most:
            parts.clear()
            if more:
                await _discard(receive)
            return None
        if not more:
            break
    return b"".join(parts)


async def _discard(receive: Any) -> None:
    """Read what is left of a body and keep nothing: a client that still sends would not see the answer."""
    left = 2 * MOST_PICTURE
    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
        while left > 0:
            message = await asyncio.wait_for(receive(), _PATIENCE)
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return


def _replay(body: bytes, receive: Any) -> Any:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(scope: dict[str, Any], send: Any) -> Any:
    async def guarded(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            extra = dict(HEADERS)
            if scope["path"].startswith("/api/"):
                extra["Cache-Control"] = "no-store"
            message["headers"] = [
                *message["headers"],
                *(
                    (name.lower().encode(), value.encode())
                    for name, value in extra.items()
                    if name.lower().encode() not in given
                ),
            ]
        await send(message)

    return guarded


async def _refuse(
    scope: dict[str, Any], receive: Any, send: Any, status: int, detail: str, headers: dict[str, str] | None = None
) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before it is accepted, a close is the answer 403.
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:100]})
        return
    await _discard(receive)
    await _answer(scope, send, status, detail, headers)


async def _answer(
    scope: dict[str, Any], send: Any, status: int, detail: str, headers: dict[str, str] | None = None
) -> None:
    body = json.dumps({"detail": detail}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    send = _with_headers(scope, send)
    lines = [(name.lower().encode(), value.encode()) for name, value in {**fields, **(headers or {})}.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
