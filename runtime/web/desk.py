"""The state behind the page: held frames, drafts, objects, viewers. The desks of a stream and of a film add the rest."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import MaskError, UserError
from crwedge.core.files import atomic_write
from crwedge.core.id_pictures import write_ids
from crwedge.core.masks import check_mask, object_ids
from crwedge.runtime.closing import Closing
from crwedge.runtime.web.held_frames import HeldFrame, HeldFrames
from crwedge.runtime.web.objects import NamedObject, NamedObjects
from crwedge.runtime.web.selector import Selector
from crwedge.runtime.web.timeline import Timeline
from crwedge.runtime.web.viewers import Viewers


class NotHereError(UserError):
    """The requested thing does not exist (yet)."""


class Desk(Closing, ABC):
    """Everything that the pages of one source share. Methods may be called from any thread.

    Args:
        folder: where drafts, names and recordings are kept.
        bundle: the encoder.
        preset: name of the protocol.
        on_mask: called with a mask (H, W) that was applied, and its held frame.
    """

    live: bool

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        preset: str,
        on_mask: Callable[[NDArray[np.uint8], HeldFrame], None] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.viewers = Viewers()
        self.held = HeldFrames(folder / "frames", most=1000)
        self.objects = NamedObjects(folder / "objects.json")
        self.timeline = Timeline()
        self.selector = Selector(bundle)
        self._model = {"name": bundle.manifest.name, "preset": preset}
        self._on_mask = on_mask
        self._revision, self._revision_lock = 0, threading.Lock()

    @abstractmethod
    def hold(self, number: int | None) -> HeldFrame:
        """Hold the newest frame of a stream, or frame `number` of a film.

        Raises:
            NotHereError: there is no such frame.
        """

    @abstractmethod
    def follow(self, held: HeldFrame, mask: NDArray[np.uint8], replace: bool) -> Future[int]:
        """Carry out `apply`."""

    def begins(self, replace: bool) -> bool:
        """Whether `apply` begins to follow, rather than to correct."""
        return True

    def check(self, held: HeldFrame, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A painted mask (H, W) that `apply` takes.

        Raises:
            MaskError: it does not fit the frame, or shows nothing where something is needed.
        """
        return check_mask(mask, held.size)

    @abstractmethod
    def remove(self, object_id: int) -> Future[int]:
        """Stop following an object."""

    @abstractmethod
    def stop(self) -> Future[int]:
        """Stop following. A run that has nothing to go back to ends, as with `Session.stop`."""

    @abstractmethod
    def record(self, on: bool) -> None:
        """Start or stop recording."""

    @abstractmethod
    def download(self, name: str) -> Path:
        """`masks.zip`, `masks.jsonl` or `overlay.mp4` as a file.

        Raises:
            NotHereError: there is none yet.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What `state` says of the source and the tracking."""

    @property
    def revision(self) -> int:
        """Counts the changes that pages have made."""
        return self._revision

    def changed(self) -> int:
        """Count a change."""
        with self._revision_lock:
            self._revision += 1
            return self._revision

    def state(self) -> dict[str, Any]:
        """The state for the page."""
        return {
            **self.facts(),
            "model": self._model,
            "viewers": len(self.viewers),
            "viewer_drops": self.viewers.dropped,
            "revision": self.revision,
        }

    def name(self, objects: Iterable[NamedObject]) -> None:
        """Name all objects."""
        self.objects.set(objects)
        self.changed()

    def apply(self, frame_id: str, replace: bool) -> Future[int]:
        """Follow or correct what was painted on a held frame.

        Raises:
            UserError: the frame is gone, or nothing was painted.
        """
        held = self.held.get(frame_id)
        mask = self.held.draft(frame_id)
        if mask is None:
            raise MaskError("nothing is painted on this frame yet: paint an object, then apply")
        mask = self.check(held, mask)
        if self.begins(replace) and object_ids(mask):
            with atomic_write(self.folder / "init.png") as file:
                file.write(write_ids(mask))
        future = self.follow(held, mask, replace)
        self.held.done(frame_id)
        self.changed()
        if self._on_mask is not None:
            self._on_mask(mask, held)
        return future

    def seen(self, ids: tuple[int, ...]) -> list[dict[str, Any]]:
        """What is known of the objects that are followed, and of others that have a name."""
        last = self.timeline.last if ids else {}
        nothing = {"state": None, "confidence": None, "area": 0}
        return [
            {**vars(self.objects.of(i)), **(last.get(str(i), nothing) if i in ids else nothing)}
            for i in sorted({*ids, *self.objects.ids})
        ]

    def close(self) -> None:
        """End the threads."""
        self.viewers.close()
        self.selector.close()
