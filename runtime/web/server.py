"""The server in a thread of its own, for as long as a block runs."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.runtime.web.access import Access
from crwedge.runtime.web.desk import Desk

_START = 15.0
"""Seconds that the server may take to start."""


@dataclass(frozen=True)
class Served:
    """Address of the page."""

    host: str
    port: int
    token: str | None
    """Token that a browser has to give; None on the loopback address."""

    @property
    def url(self) -> str:
        """Address of the page. The token stands behind `#`, which browsers send to no server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"#token={self.token}" if self.token else "")


def parse_address(text: str) -> tuple[str, int]:
    """`PORT` or `HOST:PORT` -> host and port; the host is 127.0.0.1 by default.

    Raises:
        SettingError: it is something else.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or len(port) > 15 or int(port) > 65535:
        raise SettingError(f"{text!r} must be PORT or HOST:PORT")
    return host, int(port)


@contextlib.contextmanager
def serve_desk(
    desk: Desk, address: str, *, token: str | None = None, hosts: Iterable[str] = (), mode: str = "track"
) -> Iterator[Served]:
    """Serve a desk while the block runs.

    Args:
        desk: the state behind the page; it is not closed.
        address: `PORT` on the loopback address, or `HOST:PORT`; port 0 takes a free one.
        token: the token that a browser has to give; by default none on a loopback address, and a new one on others.
        hosts: names that the page is opened by, beside addresses and `localhost`.
        mode: `paint` where the page ends with the first mask.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        SettingError: the address cannot be used.
    """
    for module in ("fastapi", "uvicorn", "websockets"):
        import_optional(module, extra="serve")
    import uvicorn

    from crwedge.runtime.web.app import create_app

    host, port = parse_address(address)
    loopback = _is_loopback(host)
    if token is not None and len(token) < 12:
        raise SettingError("a token needs 12 characters at least")
    if token is None and not loopback:
        token = secrets.token_urlsafe(18)
    listening = _listen(host, port)
    app = create_app(desk, Access(token), hosts=hosts, loopback=loopback, mode=mode)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=65536,
        ws_per_message_deflate=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
        limit_concurrency=200,
        h11_max_incomplete_event_size=32768,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="crwedge-web", daemon=True)
    thread.start()
    try:
        _wait(server, thread)
        yield Served(host, listening.getsockname()[1], token)
    finally:
        server.should_exit = True
        thread.join(5.0)
        listening.close()


def _wait(server: object, thread: threading.Thread) -> None:
    waited = threading.Event()
    for _ in range(round(_START / 0.02)):
        if getattr(server, "started", False):
            return
        if not thread.is_alive():
            break
        waited.wait(0.02)
    raise SettingError("the server did not start; see its log")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    with contextlib.ExitStack() as stack:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = stack.enter_context(socket.socket(family[0], family[1]))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(family[4])
            listening.listen(128)
        except OSError as error:
            raise SettingError(f"cannot serve on {host}:{port}: {error.strerror}; choose another port") from error
        stack.pop_all()
        return listening
