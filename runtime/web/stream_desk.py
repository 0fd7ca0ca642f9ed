"""The page of a stream: it looks on as an observer of a session and steers it by commands."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import LabelMap
from crwedge.runtime.observer import Observer
from crwedge.runtime.session import Session
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.web.archive import zip_masks
from crwedge.runtime.web.desk import Desk, NotHereError
from crwedge.runtime.web.held_frames import HeldFrame
from crwedge.runtime.web.objects import NamedObject
from crwedge.runtime.web.pictures import live_message
from crwedge.runtime.web.recorder import Recorder


@dataclass(frozen=True)
class _Seen:
    """The newest frame and what is known of it."""

    frame: Frame
    labels: LabelMap | None = None
    region: list[int] | None = None
    """x, y, width, height of what was computed, where that is not all."""


class StreamDesk(Desk, Observer):
    """The desk of a session that runs, or is about to.

    Args:
        session: it must be able to preview frames where it has no prompt.
        folder: see `Desk`.
        more: further arguments of `Desk`.
    """

    live = True

    def __init__(self, session: Session, folder: Path, **more: Any) -> None:
        Desk.__init__(self, folder, session.bundle, session.preset_name, **more)
        self.session = session
        self.recorder = Recorder(folder)
        self._newest: _Seen | None = None
        self._renamed = True
        session.attach(self, self.recorder)

    def before(self, frame: Frame) -> None:
        """Let outputs call the objects by their names."""
        if self._renamed and self.session.tracker is not None:
            self._renamed = False
            self.session.tracker.rename(self.objects.names)

    def name(self, objects: Iterable[NamedObject]) -> None:
        """See `Desk.name`."""
        super().name(objects)
        self._renamed = True

    def after(self, labels: LabelMap) -> None:
        """Show a labelled frame."""
        assert labels.frame is not None
        if self.session.tracker is not None:
            self.objects.call(self.session.tracker.names)
        number = labels.index if labels.source_index is None else labels.source_index
        frame = Frame(labels.frame, number, labels.pts, name=labels.name, time=labels.time)
        view = self.session.tracker.view if self.session.tracker is not None else None
        region = None
        if view is not None and not view.covers_frame:
            rows, columns = view.frame_box((frame.image.shape[0], frame.image.shape[1]))
            region = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        self._show(_Seen(frame, labels, region))

    def previewed(self, frame: Frame) -> None:
        """Show a frame while nothing is followed."""
        self._show(_Seen(frame))

    def written(self, labels: LabelMap) -> None:
        """Keep what is known of the objects."""
        self.timeline.add(labels, labels.index if labels.source_index is None else labels.source_index)

    def hold(self, number: int | None) -> HeldFrame:
        """See `Desk.hold`."""
        seen = self._newest
        if seen is None:
            raise NotHereError("no frame has come yet: try again in a moment")
        return self.held.hold(secrets.token_hex(6), seen.frame, None if seen.labels is None else seen.labels.ids)

    def follow(self, held: HeldFrame, mask: NDArray[np.uint8], replace: bool) -> Future[int]:
        """See `Desk.follow`."""
        send = self.session.follow if self.begins(replace) else self.session.correct
        return send(mask, held.frame)

    def begins(self, replace: bool) -> bool:
        """See `Desk.begins`. A run without preview can only be corrected; it cannot start again."""
        return self.session.options.preview and (replace or not self._known)

    def remove(self, object_id: int) -> Future[int]:
        """See `Desk.remove`."""
        known = self._known
        if object_id not in known and object_id not in self.objects.ids:
            raise NotHereError(f"there is no object {object_id}")
        self.objects.remove(object_id)
        self.changed()
        if object_id not in known:
            return self._done()
        return self.session.remove(object_id)

    def stop(self) -> Future[int]:
        """See `Desk.stop`."""
        self.changed()
        if self.session.options.preview:
            return self.session.forget()
        # A run that has to follow objects to its end has no preview to go back to: it ends, its outputs complete.
        self.session.stop()
        return self._done()

    def record(self, on: bool) -> None:
        """See `Desk.record`."""
        if on:
            self.recorder.start()
        else:
            self.recorder.stop()
        self.changed()

    def download(self, name: str) -> Path:
        """See `Desk.download`."""
        folder = self.recorder.current
        if folder is None or (not self.recorder.frames and not (folder / "masks").is_dir()):
            raise NotHereError("nothing is recorded yet: start a recording while objects are followed")
        if name == "masks.zip":
            return zip_masks(folder / "masks", folder / "masks.zip")
        path = folder / name
        if not path.is_file():
            raise NotHereError(f"the recording has no {name} yet")
        return path

    def facts(self) -> dict[str, Any]:
        """See `Desk.facts`."""
        seen, stats, followed = self._newest, self.session.stats, self._followed
        size = (0, 0) if seen is None else seen.frame.image.shape[:2]
        return {
            "source": {
                "name": self.session.name,
                "live": True,
                "width": int(size[1]),
                "height": int(size[0]),
                "frames": self.session.length,
                "fps": self.session.fps,
            },
            "tracking": bool(self._known),
            "recording": self.recorder.on,
            "recorded_frames": self.recorder.frames,
            "recording_error": self.recorder.error,
            "objects": self.seen(self._known),
            "frame": None if seen is None else {"index": seen.frame.index, "time": seen.frame.time},
            "region": None if seen is None else seen.region,
            "fps": round(stats.recent.rate(), 2),
            "latency_ms": stats.percentiles()["p50"] if followed else None,
            "dropped": stats.dropped,
            "job": None,
        }

    def close(self) -> None:
        """See `Desk.close`."""
        super().close()
        self.recorder.close()

    @property
    def _followed(self) -> tuple[int, ...]:
        seen = self._newest
        return () if seen is None or seen.labels is None else seen.labels.object_ids

    @property
    def _known(self) -> tuple[int, ...]:
        """What is followed, and what is looked for."""
        seen = self._newest
        if seen is None or seen.labels is None:
            return ()
        return tuple({**dict.fromkeys(self._followed), **seen.labels.states})

    def _done(self) -> Future[int]:
        """What is done at once, by the newest frame."""
        done: Future[int] = Future()
        done.set_result(0 if self._newest is None else self._newest.frame.index)
        return done

    def _show(self, seen: _Seen) -> None:
        self._newest = seen

        def encode() -> bytes:
            size = seen.frame.image.shape
            facts = {
                "index": seen.frame.index,
                "time": seen.frame.time,
                "width": size[1],
                "height": size[0],
                **self._briefly(),
                "region": seen.region,
            }
            return live_message(facts, None if seen.labels is None else seen.labels.ids, seen.frame.image)

        self.viewers.offer(encode)

    def _briefly(self) -> dict[str, Any]:
        stats = self.session.stats
        return {
            "objects": self.seen(self._known),
            "fps": round(stats.recent.rate(), 2),
            "latency_ms": stats.percentiles()["p50"] if self._followed else None,
        }
