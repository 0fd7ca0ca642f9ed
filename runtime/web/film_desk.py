"""The page of a recorded film: paint on any frame, propagate both ways, merge."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import MaskError, UserError
from crwedge.core.labels import LabelMap
from crwedge.core.masks import object_ids
from crwedge.core.settings import preset
from crwedge.runtime.bundle_lookup import default_preset, find_bundle
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.sources.random_access import RandomAccess
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions
from crwedge.runtime.web.desk import Desk, NotHereError
from crwedge.runtime.web.film_export import export_film
from crwedge.runtime.web.film_job import FilmJob
from crwedge.runtime.web.film_labels import FilmLabels
from crwedge.runtime.web.held_frames import HeldFrame
from crwedge.runtime.web.pictures import live_message


class BusyError(UserError):
    """Another operation has to end first."""


class FilmDesk(Desk):
    """The desk of a video file or a folder of pictures.

    Args:
        source: see `open_source`; not live.
        options: model, engine, preset, settings, size and threads are used.
        folder: see `Desk`.
        more: further arguments of `Desk`.

    Raises:
        UserError: it cannot be opened.
    """

    live = False

    def __init__(self, source: str | Path, options: SessionOptions, folder: Path, **more: Any) -> None:
        bundle = options.model if isinstance(options.model, Bundle) else find_bundle(options.model)
        self._preset = options.preset or default_preset(bundle)
        self.frames = RandomAccess(open_source(source))
        self.labels = FilmLabels(folder)
        super().__init__(folder, bundle, self._preset, **more)
        self._source, self._options, self._bundle = source, options, bundle
        self._job: FilmJob | None = None
        self._job_lock = threading.Lock()
        self._job_error: str | None = None
        self._at = 0
        self._export_lock = threading.Lock()
        self._size = self.frames.frame(0).image.shape[:2]

    def hold(self, number: int | None) -> HeldFrame:
        """See `Desk.hold`."""
        try:
            frame = self.frames.frame(self._at if number is None else number)
        except UserError as error:
            raise NotHereError(str(error)) from error
        self._at = frame.index
        self._show(frame, self.labels.get(frame.index))
        return self.held.hold(f"{frame.index:x}", frame, self.labels.get(frame.index))

    def follow(self, held: HeldFrame, mask: NDArray[np.uint8], replace: bool) -> Future[int]:
        """Keep the painted labels of a frame; `propagate` carries them on."""
        self.labels.paint(held.frame.index, mask)
        return _done(held.frame.index)

    def check(self, held: HeldFrame, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Desk.check`. A frame that has labels may be painted empty: nothing is to be seen on it."""
        emptied = mask.shape == held.size and not mask.any() and self.labels.get(held.frame.index) is not None
        # Whoever waits for a mask needs one with an object.
        return mask if emptied and self._on_mask is None else super().check(held, mask)

    def propagate(self, frame_id: str, direction: str) -> int:
        """Carry the painted labels of a frame on; returns its number. What was painted on it is applied first.

        Raises:
            BusyError: a propagation runs already.
            UserError: nothing is painted on the frame, or it was painted empty.
        """
        held = self.held.get(frame_id)
        with self._job_lock:
            if self._job is not None:
                raise BusyError("a propagation is running: wait for it or cancel it")
            if self.held.current == frame_id or held.frame.index not in self.labels.painted:
                self.apply(frame_id, False)
            painted = self.labels.get(held.frame.index)
            if painted is None or not object_ids(painted):
                raise MaskError(f"frame {held.frame.index} has no object: propagate from a frame that has one")
            self._job_error = None
            self._job = FilmJob(
                self._source,
                self.frames.length,
                held.frame.index,
                direction,
                self._open_tracker,
                self.labels,
                self._labelled,
                self._ended,
            )
        self.changed()
        return held.frame.index

    def cancel(self) -> None:
        """Stop the propagation that runs, if any."""
        job = self._job
        if job is not None:
            job.cancel()
        self.changed()

    def remove(self, object_id: int) -> Future[int]:
        """Remove an object from every frame."""
        if self._job is not None:
            raise BusyError("a propagation is running: wait for it or cancel it, then remove the object")
        if object_id not in self._present() and object_id not in self.objects.ids:
            raise NotHereError(f"there is no object {object_id}")
        self.labels.remove(object_id)
        self.objects.remove(object_id)
        self.changed()
        return _done(self._at)

    def stop(self) -> Future[int]:
        """See `Desk.stop`."""
        self.cancel()
        return _done(self._at)

    def record(self, on: bool) -> None:
        """A film is not recorded."""
        raise BusyError("a film cannot be recorded: propagate, then download")

    def download(self, name: str) -> Path:
        """See `Desk.download`."""
        if not self.labels.numbers:
            raise NotHereError("no frame has labels yet: paint one and propagate")
        with self._export_lock:
            return export_film(name, self.folder, self.frames, self.labels)

    def facts(self) -> dict[str, Any]:
        """See `Desk.facts`."""
        job = self._job
        return {
            "source": {
                "name": self.frames.name,
                "live": False,
                "width": int(self._size[1]),
                "height": int(self._size[0]),
                "frames": self.frames.length,
                "fps": self.frames.fps,
            },
            "tracking": job is not None,
            "recording": False,
            "recorded_frames": len(self.labels.numbers),
            "recording_error": self._job_error,
            "objects": self.seen(self._present()),
            "frame": {"index": self._at, "time": None},
            "region": None,
            "fps": 0.0,
            "latency_ms": None,
            "dropped": 0,
            "job": None if job is None else {"done": job.done, "total": job.total, "direction": job.direction},
        }

    def close(self) -> None:
        """See `Desk.close`."""
        job = self._job
        if job is not None:
            job.cancel(wait=True)
        super().close()
        self.frames.close()

    def _present(self) -> tuple[int, ...]:
        return self.labels.objects

    def _open_tracker(self) -> Tracker:
        options = self._options
        return Tracker.open(
            self._bundle,
            options.engine,
            options.settings or preset(self._preset),
            TrackerOptions(options.size, confidence=True),
            workers=options.threads,
        )

    def _labelled(self, labels: LabelMap, number: int) -> None:
        self.timeline.add(labels, number)
        self._at = number
        if labels.frame is not None:
            self._show(Frame(labels.frame, number, labels.pts), labels.ids)

    def _ended(self, error: Exception | None) -> None:
        self._job_error = None if error is None else str(error)
        self._job = None
        self.changed()

    def _show(self, frame: Frame, ids: NDArray[np.uint8] | None) -> None:
        def encode() -> bytes:
            height, width = frame.image.shape[:2]
            facts = {
                "index": frame.index,
                "time": frame.time,
                "width": width,
                "height": height,
                "objects": self.seen(self._present()),
                "region": None,
                "fps": 0.0,
                "latency_ms": None,
            }
            return live_message(facts, ids, frame.image)

        self.viewers.offer(encode)


def _done(index: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(index)
    return future
