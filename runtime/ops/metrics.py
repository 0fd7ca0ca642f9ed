"""`/metrics` in Prometheus' text format, and `/healthz`."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crwedge.core.errors import SettingError
from crwedge.core.labels import LabelMap
from crwedge.runtime.observer import Observer

if TYPE_CHECKING:
    from crwedge.runtime.session import Session

_STATES = {"lost": 0, "recovering": 1, "ok": 2}


class StreamMetrics(Observer):
    """The figures of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.latest: LabelMap | None = None
        """The last label map that was written."""

    def written(self, labels: LabelMap) -> None:
        """Keep the label map."""
        self.latest = labels


class _Collector(Collector):
    def __init__(self, streams: Sequence[StreamMetrics], events: Mapping[str, int]) -> None:
        self._streams, self._events = streams, events

    def collect(self) -> Iterator[Metric]:
        frames = CounterMetricFamily(
            "crwedge_frames", "Frames of the source, by outcome.", labels=("source", "outcome")
        )
        fps = GaugeMetricFamily("crwedge_fps", "Frames written per second, at present.", labels=("source",))
        flowing = GaugeMetricFamily("crwedge_flowing", "1 while frames flow.", labels=("source",))
        latency = GaugeMetricFamily(
            "crwedge_latency_ms",
            "Milliseconds from a frame's arrival to its last output written.",
            labels=("source", "quantile"),
        )
        states = GaugeMetricFamily("crwedge_object_state", "0 lost, 1 recovering, 2 ok.", labels=("source", "object"))
        confidence = GaugeMetricFamily(
            "crwedge_object_confidence", "Expected overlap with the truth.", labels=("source", "object")
        )
        for stream in self._streams:
            name, stats, latest = stream.session.name, stream.session.stats, stream.latest
            for outcome in ("in", "tracked", "dropped", "failed", "written", "recovering"):
                frames.add_metric((name, outcome), getattr(stats, "frames_in" if outcome == "in" else outcome))
            fps.add_metric((name,), stats.recent.rate())
            flowing.add_metric((name,), stats.recent.flowing())
            for p, value in stats.percentiles().items():
                latency.add_metric((name, f"0.{p[1:]}"), value)
            for object_id, state in latest.states.items() if latest is not None else ():
                states.add_metric((name, str(object_id)), _STATES[state])
            for object_id, expected in latest.confidence.items() if latest is not None else ():
                confidence.add_metric((name, str(object_id)), expected)
        counts = CounterMetricFamily("crwedge_events", "Events logged.", labels=("event",))
        for event, count in sorted(dict(self._events).items()):
            counts.add_metric((event,), count)
        yield from (frames, fps, flowing, latency, states, confidence, counts)


@contextlib.contextmanager
def serve_metrics(address: str, streams: Sequence[StreamMetrics], events: Counter[str]) -> Iterator[str]:
    """Serve while the block runs; yields `HOST:PORT`.

    Args:
        address: `PORT` on the loopback address, or `HOST:PORT`. Port 0 takes a free one.
        streams: what is watched.
        events: counts of events, which change while it runs.

    Raises:
        SettingError: the port cannot be used.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or len(port) > 15 or int(port) > 65535:
        raise SettingError(f"--set metrics={address} must be PORT or HOST:PORT")
    registry = CollectorRegistry()
    registry.register(_Collector(streams, events))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/healthz":
                healthy = all(stream.session.stats.recent.flowing() for stream in streams)
                self._answer(200 if healthy else 503, b"ok\n" if healthy else b"no frames\n", "text/plain")
            else:
                self._answer(404, b"try /metrics or /healthz\n", "text/plain")

        def _answer(self, code: int, data: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    try:
        server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), Handler)
    except OSError as error:
        raise SettingError(f"--set metrics={address}: {error.strerror}; choose another port") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="crwedge-metrics", daemon=True)
    thread.start()
    try:
        yield f"{server.server_address[0]!s}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
