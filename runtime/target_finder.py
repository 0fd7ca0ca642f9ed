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
from crwedge.runtime.target_cycle import returned_overlap
from crwedge.runtime.target_search import (
    Known,
    Match,
    Rows,
    as_rows,
    background,
    best_match,
    know,
    label_everywhere,
    outside_box,
)
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
_HOPE = 0.7
"""Certainty of a first match from which an object is looked at more closely."""
_LEAST_OVERLAP = 0.65
"""Least overlap of the painted mask with the mask that comes back from a found object."""
_SETTINGS = PropagationSettings(radius=float("inf"))
_SAME = 0.5
"""A found object of which more than this share lies on objects that are followed is one of them."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where an object seems to be in a frame."""

    lead: float
    """Of the best match; see `Match`."""
    cover: float
    overlap: float
    """See `returned_overlap`; 0 where the match was too weak for a closer look."""
    certainty: float
    """From 1 on the object is found."""
    mask: NDArray[np.bool_] | None
    """(H, W) its pixels; None without a closer look."""


@dataclass(frozen=True, eq=False)
class _Sought:
    """An encoded target."""

    ids: tuple[int, ...]
    frames: tuple[tuple[Known, ...], ...]
    """Each painted frame at each scale, from coarse to fine."""

    @property
    def known(self) -> list[Known]:
        """All frames at all scales."""
        return [known for scales in self.frames for known in scales]


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

    def find(self, pixels: NDArray[np.uint8], wanted: set[int]) -> dict[int, Found]:
        """Where each wanted object seems to be in a frame RGB uint8 (H, W, 3), certain or not."""
        view = self._view((pixels.shape[0], pixels.shape[1]), _CELLS)
        rows = self._rows(pixels, view)
        found: dict[int, Found] = {}
        for sought in self._encoded():
            for i in wanted & set(sought.ids):
                matches = [(best_match(scales, i, rows, view.grid), scales) for scales in sought.frames]
                certain = [(one.certainty, number, one) for number, (one, _) in enumerate(matches) if one is not None]
                if not certain:
                    continue
                certainty, number, one = max(certain, key=lambda item: item[0])
                if certainty < _HOPE:
                    found[i] = Found(one.lead, one.cover, 0.0, 0.0, None)
                else:
                    found[i] = self._closer(pixels, sought, i, sought.frames[number], one, (rows, view))
        return found

    def _look(self) -> None:
        """Tell the tracker what was never found."""
        followed = set(self._tracker.object_ids) & set(self._names)
        self._ended |= (self._followed | self._looked_for - set(self._tracker.searched)) - followed
        self._started |= followed
        self._followed, self._looked_for = followed, set(self._names) - self._started - self._ended
        self._tracker.look_for(*(i for i in self._names if i in self._looked_for))

    def _search(self, pixels: NDArray[np.uint8], missing: set[int]) -> NDArray[np.uint8] | None:
        size, followed = (pixels.shape[0], pixels.shape[1]), set(self._tracker.object_ids) - missing
        taken, mask = np.zeros(size, np.bool_), np.zeros(size, np.uint8)
        if self._labels is not None and followed and self._labels.ids.shape == size:
            taken |= np.isin(self._labels.ids, list(followed))
        for i, one in sorted(self.find(pixels, missing).items(), key=lambda item: -item[1].certainty):
            inside = one.mask
            if one.certainty < 1 or inside is None or (inside & taken).sum() > _SAME * inside.sum():
                continue
            mask[inside & ~taken] = i
            taken |= inside
            self._tell(i, one)
        if not mask.any():
            return None
        self.last_given = self._index
        return mask

    def _closer(
        self,
        pixels: NDArray[np.uint8],
        sought: _Sought,
        object_id: int,
        scales: Sequence[Known],
        first: Match,
        whole: tuple[Rows, View],
    ) -> Found:
        """Label and check an object at the finest scale that a region around it allows.

        Args:
            pixels: RGB uint8 (H, W, 3).
            sought: the target of the object.
            object_id: one of its ids.
            scales: the painted frame that matched.
            first: its match with the whole frame.
            whole: features (h * w, C) of the whole frame, and its view.
        """
        size = pixels.shape[0], pixels.shape[1]
        rows, view = whole
        if not self._fixed:
            region = Region(_CELLS, _MARGIN, self._tracker.options.size or size)
            region.jump(first.box)
            view = region.view()
            rows = self._rows(pixels, view)
        outside = outside_box(first.box, view)
        known = [*sought.known, *background(rows, outside.reshape(-1), 1 + len(sought.ids))]
        soft = label_everywhere(known, rows, _SETTINGS).reshape(-1, *view.grid)
        soft[0, outside], soft[1:, outside] = 1, 0
        mask = np.asarray(labels_to_ids(soft, sought.ids, size, "none", view) == object_id)
        inside = soft.argmax(axis=0).reshape(-1) == 1 + sought.ids.index(object_id)
        rest = whole[0][outside_box(first.box, whole[1]).reshape(-1)]
        finest = [one for one in scales if object_id in one.objects][-1]
        all_rows, all_inside = np.concatenate([rows, rest]), np.concatenate([inside, np.zeros(len(rest), np.bool_)])
        overlap = returned_overlap(finest, object_id, all_rows, all_inside) if mask.any() else 0.0
        again = best_match(scales, object_id, rows, view.grid)
        best = first if again is None or first.certainty > again.certainty else again
        return Found(best.lead, best.cover, overlap, min(best.certainty, overlap / _LEAST_OVERLAP), mask)

    def _tell(self, object_id: int, one: Found) -> None:
        again = object_id in self._started
        if self.found_at[object_id] is None:
            self.found_at[object_id] = self._index
        name = self._name(object_id)
        _log.info("found %s (object %d)%s in frame %d", name, object_id, " again" if again else "", self._index)
        facts = {
            "lead": round(one.lead, 3),
            "cover": round(one.cover, 3),
            "overlap": round(one.overlap, 3),
            "again": again,
        }
        self._on_event("target_found", object=object_id, target=name, index=self._index, **facts)

    def _name(self, object_id: int) -> str:
        return self._tracker.names.get(object_id, self._names[object_id])

    @property
    def _fixed(self) -> bool:
        """Whether the encoder takes pictures of one size."""
        bundle = self._tracker.bundle
        return bundle is not None and bundle.manifest.size is not None

    def _rows(self, pixels: NDArray[np.uint8], view: View) -> Rows:
        return as_rows(self._tracker.backend.encode(pixels, view).numpy())

    def _view(self, size: Size, cells: int) -> View:
        """The whole of a frame of `size` = (H, W), at the finest scale of at most so many cells."""
        size = self._tracker.options.size or size
        return View.whole(size) if self._fixed else Region(cells, _MARGIN, size).overview

    def _encoded(self) -> list[_Sought]:
        # Test-time training changes the encoder, and with it what a target's features are.
        if self._sought is None or self._tracker.adapter is not None:
            first, self._sought = self._sought is None, [self._encode(target) for target in self._targets]
            for i in self._names if first else ():
                if not any(i in known.objects for sought in self._sought for known in sought.known):
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
            scales = []
            for number, view in enumerate(views):
                features = self._tracker.backend.encode(frame.pixels, view).numpy()
                soft, _ = area_labels(frame.mask, ids, view.grid)
                scales.append(know(features, soft, ids, _MOST if number else None))
            found.append(tuple(scales))
        return _Sought(ids, tuple(found))
