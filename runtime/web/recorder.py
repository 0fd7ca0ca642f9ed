"""Recordings that are switched on and off while a stream runs."""

from __future__ import annotations

import threading
from pathlib import Path

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.runtime.sinks.base import MaskSink, Sink
from crwedge.runtime.sinks.jsonl import JsonLinesSink
from crwedge.runtime.sinks.png import PngSink
from crwedge.runtime.sinks.video import VideoSink


class Recorder(Sink):
    """Writes label maps while it is on: masks as PNG and JSON Lines, and an overlay film, in a new folder each time.

    An error, such as a full disk, ends the recording and not the stream.

    Args:
        folder: takes `recording-1`, `recording-2`, ...
        fps: frames a second of films whose frames have no time stamps.
    """

    def __init__(self, folder: Path, fps: float = 25.0) -> None:
        self.name = str(folder)
        self.frames = 0
        """Of the newest recording."""
        self.error: str | None = None
        """What ended the newest recording, where that was an error."""
        self._folder, self._fps = folder, fps
        self._sinks: list[MaskSink] = []
        self._lock = threading.Lock()
        numbers = [int(p.name.rpartition("-")[2]) for p in folder.glob("recording-*") if p.name[10:].isdecimal()]
        self._number = max(numbers, default=0)

    @property
    def on(self) -> bool:
        """Whether it records."""
        return bool(self._sinks)

    @property
    def current(self) -> Path | None:
        """Folder of the newest recording; None where there is none."""
        path = self._folder / f"recording-{self._number}"
        return path if path.is_dir() else None

    def start(self) -> None:
        """Begin a new recording; nothing happens where one is on."""
        with self._lock:
            if self._sinks:
                return
            self._number += 1
            self.frames, self.error = 0, None
            path = self._folder / f"recording-{self._number}"
            self._sinks = [
                PngSink(path / "masks"),
                JsonLinesSink(path / "masks.jsonl"),
                VideoSink(path / "overlay.mp4", self._fps, timed=True),
            ]

    def stop(self) -> None:
        """End the recording; nothing happens where none is on."""
        with self._lock:
            self._finish()

    def write(self, labels: LabelMap) -> None:
        """Take a label map."""
        with self._lock:
            if not self._sinks:
                return
            try:
                for sink in self._sinks:
                    sink.write(labels)
                self.frames += 1
            except SinkError as error:
                self.error = str(error)
                self._finish()

    def close(self) -> None:
        """End the recording."""
        self.stop()

    def _finish(self) -> None:
        sinks, self._sinks = self._sinks, []
        for sink in sinks:
            try:
                sink.close()
            except SinkError as error:
                self.error = self.error or str(error)
