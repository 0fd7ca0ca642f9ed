"""Propagation through a film, forwards and backwards from a painted frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import LabelMap
from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.observer import Observer
from crwedge.runtime.sinks.base import Sink
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.stream import run_stream
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.web.film_labels import FilmLabels

DIRECTIONS = {"forward": (False,), "backward": (True,), "both": (False, True)}
"""Whether each pass goes backwards."""


class FilmJob:
    """Labels a film from one painted frame, in a thread of its own.

    Args:
        source: path of the film.
        length: its number of frames.
        number: of the painted frame.
        direction: `forward`, `backward` or `both`.
        open_tracker: gives a tracker, which is closed at the end.
        labels: where results go; other painted frames on the way correct them.
        on_labels: called with each label map and its frame's number.
        on_end: called at the end, with the error that ended it.
    """

    def __init__(
        self,
        source: str | Path,
        length: int,
        number: int,
        direction: str,
        open_tracker: Callable[[], Tracker],
        labels: FilmLabels,
        on_labels: Callable[[LabelMap, int], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self.direction, self.done = direction, 0
        self.total = sum(number + 1 if back else length - number for back in DIRECTIONS[direction])
        self._source, self._number, self._open, self._labels = source, number, open_tracker, labels
        self._on_labels, self._on_end = on_labels, on_end
        self._stop = StopToken()
        self._thread = threading.Thread(target=self._work, name="crwedge-propagate", daemon=True)
        self._thread.start()

    def cancel(self, wait: bool = False) -> None:
        """Stop it; what was labelled stays."""
        self._stop.set()
        if wait:
            self._thread.join()

    def _work(self) -> None:
        failed: Exception | None = None
        try:
            prompt = self._labels.get(self._number)
            assert prompt is not None
            with self._open() as tracker:
                for back in DIRECTIONS[self.direction]:
                    if not self._stop.is_set():
                        tracker.reset()
                        self._pass(tracker, prompt, back)
        except Exception as error:
            failed = error
        finally:
            self._labels.save()
            self._on_end(failed)

    def _pass(self, tracker: Tracker, prompt: NDArray[np.uint8], back: bool) -> None:
        merge = _Merge(self)
        with open_source(self._source, start=self._number, reverse=back) as frames:
            run_stream(tracker, frames, [merge], prompt=prompt, observers=[_Corrections(self._labels)], stop=self._stop)

    def take(self, labels: LabelMap, distance: int) -> None:
        """Take a label map of a pass."""
        assert labels.source_index is not None
        self.done += 1
        if self._labels.offer(labels.source_index, labels.ids, distance):
            self._on_labels(labels, labels.source_index)

    def is_painted(self, number: int) -> bool:
        """Whether a frame was painted."""
        return number in self._labels.painted


class _Corrections(Observer):
    """Gives what was painted on the frames on the way."""

    def __init__(self, labels: FilmLabels) -> None:
        self._labels, self._painted = labels, set(labels.painted)

    def before(self, frame: Frame) -> NDArray[np.uint8] | None:
        """The painted labels of this frame; an empty one corrects nothing."""
        ids = self._labels.get(frame.index) if frame.index in self._painted else None
        return ids if ids is not None and ids.any() else None


class _Merge(Sink):
    """Hands label maps to the job, with the distance to the last painted frame."""

    name = "labels of the film"

    def __init__(self, job: FilmJob) -> None:
        self._job, self._painted = job, 0

    def write(self, labels: LabelMap) -> None:
        """Take one."""
        assert labels.source_index is not None
        if labels.index == 0 or self._job.is_painted(labels.source_index):
            self._painted = labels.source_index
        self._job.take(labels, abs(labels.source_index - self._painted))
