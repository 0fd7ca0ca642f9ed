"""Looks for the objects of targets in a stream, and gives the tracker a mask where one is certainly found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import LabelMap, area_labels
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.events import silent
from crwedge.runtime.monitor import LOST
from crwedge.runtime.observer import Observer
from crwedge.runtime.propagation.propagator import labels_to_ids
from crwedge.runtime.propagation.view import Size, View
from crwedge.runtime.region import Region
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.target import Target
from crwedge.runtime.target_search import Known, Match, as_rows, background, know, label_everywhere, match, outside_box
from crwedge.runtime.tracker import Tracker

_log = logging.getLogger("crwedge")

_CELLS = 1600
"""Largest number of cells at which a frame is searched."""
_SCALES = (1600, 3200, 6400)
"""Largest numbers of cells at which painted frames are encoded: an object may be larger or smaller in the frame."""
_MOST = 400
"""Cells of an object above which a finer scale adds time and no certainty."""
_MARGIN = 4
"""Cells around found objects that are labelled with them."""
_PATIENCE = 3
"""Frames between two searches while other objects are followed."""
_SETTINGS = PropagationSettings(radius=float("inf"))
_SAME = 0.5
"""A found object of which more than this share lies on objects that are followed is one of them."""


@dataclass(frozen=True, eq=False)
class _Sought:
    """An encoded target."""

    ids: tuple[int, ...]
    frames: tuple[Known, ...]
    """Each frame at each scale."""

    def best(self, wanted: set[int], rows: NDArray[np.float32], grid: Size) -> dict[int, Match]:
        """The best match of each wanted object in features (h * w, C) of a frame."""
        found: dict[int, Match] = {}
        for known in self.frames:
            for object_id in wanted & known.objects.keys():
                one = match(known, object_id, rows, grid)
                if object_id not in found or one.certainty > found[object_id].certainty:
                    found[object_id] = one
        return found


class TargetFinder(Observer):
    """Gives a mask of the objects that were found, as if a person had painted it.

    Args:
        targets: with ids that belong to one target each; see `join_targets`.
        names: of the ids.
        tracker: takes the masks; its `searched` says what was never found.
        index: `index` of the next frame in the outputs.
        on_event: called with `target_found` for each object.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        names: dict[int, str],
        tracker: Tracker,
        index: int = 0,
        on_event: Callable[..., None] = silent,
    ) -> None:
        self._targets, self._names, self._tracker, self._on_event = targets, names, tracker, on_event
        self.found_at: dict[int, int | None] = dict.fromkeys(names)
        """For each object the number of the frame, in the outputs, in which it was first found."""
        self.last_given = -1
        """The last frame that got a mask from here."""
        self._sought: list[_Sought] | None = None
        self._wait, self._index = 0, index
        self._labels: LabelMap | None = None
        self._started: set[int] = set()
        """Objects that are followed, or were."""
        self._followed: set[int] = set()
        self._looked_for: set[int] = set()
        self._ended: set[int] = set()
        """Objects that a command removed, or whose search it ended. Their ids may be of others now."""
        self._look()

    def before(self, frame: Frame) -> NDArray[np.uint8] | None:
        """Look for what is searched or lost; returns the mask of what was found."""
        self._look()
        tracker, states = self._tracker, {} if self._labels is None else self._labels.states
        lost = {i for i in self._followed - self._ended if states.get(i) == LOST}
        missing = lost.union(tracker.searched)
        self._wait -= 1
        if not missing or self._wait >= 0 or tracker.joint_names:
            return None
        self._wait = _PATIENCE if tracker.object_ids else 0
        return self._search(frame.image, missing)

    def after(self, labels: LabelMap) -> None:
        """Remember where objects are."""
        self._labels, self._index = labels, labels.index + 1
        self._look()

    def summary(self) -> dict[str, Any]:
        """For each object its name and the frame in which it was first found, null where it never was."""
        return {str(i): {"name": self._name(i), "found_at": self.found_at[i]} for i in self._names}

    def matches(self, pixels: NDArray[np.uint8], wanted: set[int]) -> dict[int, Match]:
        """The best match of each wanted object in a frame RGB uint8 (H, W, 3), certain or not."""
        view = self._view((pixels.shape[0], pixels.shape[1]), _CELLS)
        rows = as_rows(self._tracker.backend.encode(pixels, view).numpy())
        return {i: one for sought in self._encoded() for i, one in sought.best(wanted, rows, view.grid).items()}

    def _look(self) -> None:
        """Tell the tracker what was never found."""
        followed = set(self._tracker.object_ids) & set(self._names)
        self._ended |= (self._followed | self._looked_for - set(self._tracker.searched)) - followed
        self._started |= followed
        self._followed, self._looked_for = followed, set(self._names) - self._started - self._ended
        self._tracker.look_for(*(i for i in self._names if i in self._looked_for))

    def _search(self, pixels: NDArray[np.uint8], missing: set[int]) -> NDArray[np.uint8] | None:
        size, followed = (pixels.shape[0], pixels.shape[1]), set(self._tracker.object_ids) - missing
        sure = {i: one for i, one in self.matches(pixels, missing).items() if one.certainty >= 1}
        if not sure:
            return None
        taken, mask = np.zeros(size, np.bool_), np.zeros(size, np.uint8)
        if self._labels is not None and followed and self._labels.ids.shape == size:
            taken |= np.isin(self._labels.ids, list(followed))
        for i, one in sorted(sure.items(), key=lambda item: -item[1].certainty):
            inside = self._label(pixels, i, one)
            if not inside.any() or (inside & taken).sum() > _SAME * inside.sum():
                continue
            mask[inside & ~taken] = i
            taken |= inside
            self._tell(i, one)
        if not mask.any():
            return None
        self.last_given = self._index
        return mask

    def _label(self, pixels: NDArray[np.uint8], object_id: int, one: Match) -> NDArray[np.bool_]:
        """The pixels (H, W) of a found object, at the finest scale that a region around it allows."""
        size = pixels.shape[0], pixels.shape[1]
        sought = next(sought for sought in self._encoded() if object_id in sought.ids)
        view = self._view(size, _CELLS)
        if not self._fixed:
            region = Region(_CELLS, _MARGIN, self._tracker.options.size or size)
            region.jump(one.box)
            view = region.view()
        rows, outside = as_rows(self._tracker.backend.encode(pixels, view).numpy()), outside_box(one.box, view)
        known = [*sought.frames, *background(rows, outside.reshape(-1), 1 + len(sought.ids))]
        soft = label_everywhere(known, rows, _SETTINGS).reshape(-1, *view.grid)
        soft[0, outside], soft[1:, outside] = 1, 0
        return np.asarray(labels_to_ids(soft, sought.ids, size, "none", view) == object_id)

    def _tell(self, object_id: int, one: Match) -> None:
        again = object_id in self._started
        if self.found_at[object_id] is None:
            self.found_at[object_id] = self._index
        name = self._name(object_id)
        _log.info("found %s (object %d)%s in frame %d", name, object_id, " again" if again else "", self._index)
        facts = {"lead": round(one.lead, 3), "cover": round(one.cover, 3), "again": again}
        self._on_event("target_found", object=object_id, target=name, index=self._index, **facts)

    def _name(self, object_id: int) -> str:
        return self._tracker.names.get(object_id, self._names[object_id])

    @property
    def _fixed(self) -> bool:
        """Whether the encoder takes pictures of one size."""
        bundle = self._tracker.bundle
        return bundle is not None and bundle.manifest.size is not None

    def _view(self, size: Size, cells: int) -> View:
        """The whole of a frame of `size` = (H, W), at the finest scale of at most so many cells."""
        size = self._tracker.options.size or size
        return View.whole(size) if self._fixed else Region(cells, _MARGIN, size).overview

    def _encoded(self) -> list[_Sought]:
        # Test-time training changes the encoder, and with it what a target's features are.
        if self._sought is None or self._tracker.adapter is not None:
            first, self._sought = self._sought is None, [self._encode(target) for target in self._targets]
            for i in self._names if first else ():
                if not any(i in known.objects for sought in self._sought for known in sought.frames):
                    _log.warning(
                        "%s (object %d) covers too few cells of its target picture, or nearly all: it cannot be searched",
                        self._name(i),
                        i,
                    )
        return self._sought

    def _encode(self, target: Target) -> _Sought:
        ids, found = target.ids, []
        for frame in target.frames:
            size = frame.mask.shape[0], frame.mask.shape[1]
            views = dict.fromkeys(self._view(size, cells) for cells in _SCALES)
            for number, view in enumerate(views):
                features = self._tracker.backend.encode(frame.pixels, view).numpy()
                soft, _ = area_labels(frame.mask, ids, view.grid)
                found.append(know(features, soft, ids, _MOST if number else None))
        return _Sought(ids, tuple(found))
