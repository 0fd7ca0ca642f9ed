"""The trainer beside the frame path: a process that learns, a thread that carries windows there and engines back."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crwedge.adapt.settings import TestTimeSettings
from crwedge.adapt.shrink import shrink
from crwedge.adapt.stats import TestTimeStats
from crwedge.adapt.weights import Renewed, check_weights
from crwedge.adapt.wire import Channel, WireError
from crwedge.core.bundle import WEIGHTS, Bundle
from crwedge.core.errors import CrwedgeError
from crwedge.runtime.backends.engine import Engine

WORKER = (sys.executable, "-m", "crwedge.adapt.worker")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20

Window = tuple[int, Sequence[Any]]
"""Index of the frame that the window belongs to, and its frames, RGB uint8 (H, W, 3)."""


class BackgroundTrainer:
    """Takes windows and gives engines. `offer` and `take` return at once; `wait` is for recorded video.

    Args:
        bundle: what the trainer starts from.
        settings: of test-time training.
        stats: filled in place.
        precision: of the graphs that the trainer is to send.
        make_engine: opens an engine from a graph and a frame to try it on, in this class's own thread.
        worker: command of the trainer's process.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: TestTimeSettings,
        stats: TestTimeStats,
        precision: str,
        make_engine: Callable[[bytes, Any], Renewed],
        worker: Sequence[str] = WORKER,
    ) -> None:
        """Start the process and the thread."""
        self._settings, self._stats, self._make_engine = settings, stats, make_engine
        self._bundle, self._precision, self._worker = bundle, precision, tuple(worker)
        self._lock, self._news, self._rested = threading.Lock(), threading.Event(), threading.Event()
        self._window: Window | None = None
        self._renewed: Renewed | None = None
        self._closing, self._busy = False, False
        self.weights = b""
        """`encoder.safetensors` of the last engine that was handed over."""
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="crwedge-ttt", daemon=True)
        self._thread.start()

    def offer(self, window: Window) -> None:
        """Hand over a window; it replaces one that was not started yet. Returns at once."""
        with self._lock:
            self._stats.dropped += self._window is not None
            self._window = window
            self._rested.clear()
        self._news.set()

    def wait(self) -> None:
        """Wait until nothing is being learnt and nothing waits, or training has ended."""
        while not self._rested.wait(0.2) and self._thread.is_alive():
            pass

    def take(self) -> Renewed | None:
        """The engine with the newest weights, once. Returns at once."""
        with self._lock:
            renewed, self._renewed = self._renewed, None
        return renewed

    @property
    def idle(self) -> bool:
        """Whether nothing is being learnt and nothing waits."""
        with self._lock:
            return self._window is None and not self._busy

    def close(self, running: Engine | None = None) -> None:
        """End the process and the thread, at once, and the engine that waits, unless it is the one `running`."""
        self._closing = True
        self._news.set()
        self._thread.join(timeout=10)
        if (renewed := self.take()) is not None and renewed.engine is not running:
            renewed.engine.close()

    def _run(self) -> None:
        with tempfile.TemporaryFile() as complaints:
            try:
                self._serve(complaints)
            except WireError as error:
                self._stop(f"the trainer {error}{_ending(self.process)}{_last_line(complaints)}")
            except (CrwedgeError, OSError) as error:
                self._stop(str(error))
            except Exception as error:  # whatever it is: tracking goes on
                self._stop(f"{type(error).__name__}: {error}")
            finally:
                self._end_process()
                with self._lock:
                    self._window, self._busy = None, False
                    self._rested.set()

    def _stop(self, reason: str) -> None:
        if not self._closing:
            self._stats.stop(reason)

    def _serve(self, complaints: Any) -> None:
        settings = self._settings
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = process = subprocess.Popen(
            self._worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0, env=environment
        )
        assert process.stdin is not None
        assert process.stdout is not None
        channel = Channel(process.stdout.fileno(), process.stdin.fileno(), self._check)
        manifest = asdict(self._bundle.manifest)
        start = {"settings": settings.to_dict(), "manifest": manifest, "precision": self._precision}
        channel.send(start, self._bundle.read(WEIGHTS), settings.patience)
        _expect(channel.receive(settings.patience)[0], "ready")
        while (window := self._next()) is not None:
            index, frames = window
            small = np.stack([shrink(frame, settings.short_side) for frame in frames])
            channel.send({"index": index, "shape": small.shape}, small.tobytes(), settings.patience)
            while True:
                header, body = channel.receive(settings.patience)
                if header.get("kind") != "progress":
                    break
            _expect(header, "window")
            self._take_answer(header, body, frames[-1])
            with self._lock:
                self._busy = False
                if self._window is None:
                    self._rested.set()

    def _next(self) -> Window | None:
        """Wait for a window; None when it is over."""
        while not self._closing and not self._stats.stopped:
            if not self._news.wait(0.2):
                self._check()
                if self.process is not None and self.process.poll() is not None:
                    raise WireError("has ended")
                continue
            self._news.clear()
            with self._lock:
                window, self._window = self._window, None
                self._busy = window is not None
            if window is not None:
                return window
        return None

    def _take_answer(self, header: dict[str, Any], body: bytes, frame: Any) -> None:
        if header["undone"]:
            self._stats.undo(header, self._settings.rollbacks)
            return
        weights, graph = body[: header["weights"]], body[header["weights"] :]
        check_weights(weights)
        begun = time.perf_counter()
        renewed = self._make_engine(graph, frame)
        self._stats.keep(header, time.perf_counter() - begun)
        with self._lock:
            late, self._renewed = self._renewed, renewed
            self.weights = weights
        if late is not None and late.engine is not renewed.engine:
            late.engine.close()

    def _check(self) -> None:
        """Give up when it is over, or when the process holds too much memory."""
        assert self.process is not None
        if self._closing:
            raise WireError("was closed")
        limit = self._settings.memory_mb
        if limit and (held := _resident_mb(self.process.pid)) > limit:
            raise WireError(f"holds {held:.0f} MB, more than memory_mb = {limit}")

    def _end_process(self) -> None:
        process = self.process
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _expect(header: dict[str, Any], kind: str) -> None:
    if header.get("kind") == "error":
        raise WireError(f"failed: {header.get('reason')}")
    if header.get("kind") != kind:
        raise WireError("sent something that is not a message")


def _ending(process: subprocess.Popen[bytes] | None) -> str:
    """How the process ended, where it has."""
    if process is None:
        return ""
    try:
        code = process.wait(0.2)
    except subprocess.TimeoutExpired:
        return ""
    return f" with {'signal' if code < 0 else 'exit code'} {abs(code)}"


def _resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except (OSError, IndexError, ValueError):
        return 0.0


def _last_line(complaints: Any) -> str:
    complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, complaints.tell() - 500))
    lines = complaints.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" ({last[:200]})" if last else ""
