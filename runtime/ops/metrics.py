"""`/metrics` in Prometheus' text format and `/healthz`, for whoever watches the device."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from crwedge.core.errors import SettingError
from crwedge.core.labels import LabelMap
from crwedge.runtime.ops.events import EventLog
from crwedge.runtime.ops.stats import StreamStats

_FLOWING = 15.0
"""Seconds since the last written frame within which frames count as flowing."""
_STATES = {"lost": 0, "recovering": 1, "ok": 2}


class Watched(Protocol):
    """A stream as the metrics see it."""

    name: str
    stats: StreamStats
    latest: LabelMap | None


@contextlib.contextmanager
def serve_metrics(where: str, streams: Sequence[Watched], events: EventLog) -> Iterator[str]:
    """Serve while the block runs; yields the address.

    Args:
        where: `PORT` on the loopback address, or `HOST:PORT`.
        streams: what is watched.
        events: their log, whose counts are served too.

    Raises:
        SettingError: the port cannot be had.
    """
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingError(f"--metrics {where!r} must be PORT or HOST:PORT")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, prometheus(streams, events), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/healthz":
                healthy = all(flowing(stream) for stream in streams)
                self._answer(200 if healthy else 503, "ok\n" if healthy else "no frames\n", "text/plain")
            else:
                self._answer(404, "try /metrics or /healthz\n", "text/plain")

        def _answer(self, code: int, text: str, kind: str) -> None:
            data = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are no news."""

    try:
        server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), Handler)
    except OSError as error:
        raise SettingError(f"--metrics {where}: {error.strerror}; choose another port") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="crwedge-metrics", daemon=True)
    thread.start()
    try:
        yield f"{server.server_address[0]!s}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def flowing(stream: Watched) -> bool:
    """Whether a frame was written lately."""
    last = stream.stats.last_written
    return last is not None and time.monotonic() - last < _FLOWING


def prometheus(streams: Sequence[Watched], events: EventLog) -> str:
    """All figures as text."""
    lines: list[str] = []

    def table(name: str, kind: str, words: str, rows: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP crwedge_{name} {words}")
        lines.append(f"# TYPE crwedge_{name} {kind}")
        lines.extend(f"crwedge_{name}{{{labels}}} {value:g}" for labels, value in rows)

    named = [(f'source="{_escaped(stream.name)}"', stream) for stream in streams]
    counts = ("in", "tracked", "dropped", "failed", "written", "recovering")
    table(
        "frames_total",
        "counter",
        "Frames of the source by what became of them.",
        [
            (f'{label},outcome="{count}"', getattr(stream.stats, "frames_in" if count == "in" else count))
            for label, stream in named
            for count in counts
        ],
    )
    table("fps", "gauge", "Frames tracked a second.", [(label, stream.stats.fps) for label, stream in named])
    table("flowing", "gauge", "1 while frames flow.", [(label, flowing(stream)) for label, stream in named])
    table(
        "latency_ms",
        "gauge",
        "Milliseconds from a frame's arrival to its last output written.",
        [
            (f'{label},quantile="0.{p[1:]}"', value)
            for label, stream in named
            for p, value in stream.stats.percentiles().items()
        ],
    )
    seen = [(label, stream.latest) for label, stream in named if stream.latest is not None]
    table(
        "object_state",
        "gauge",
        "0 lost, 1 recovering, 2 ok.",
        [(f'{label},object="{i}"', _STATES[state]) for label, latest in seen for i, state in latest.states.items()],
    )
    table(
        "object_confidence",
        "gauge",
        "Expected overlap with the truth.",
        [(f'{label},object="{i}"', value) for label, latest in seen for i, value in latest.confidence.items()],
    )
    table("events_total", "counter", "Events logged.", [(f'event="{e}"', n) for e, n in sorted(events.counts.items())])
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
