"""Choose the part of a frame to compute: the whole frame, or a region that follows the objects and searches lost ones."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.labels import LabelMap, area_labels
from crwedge.core.prompts import KeypointPrompt
from crwedge.runtime.backends.base import Backend, ContextState, Prediction
from crwedge.runtime.finder import Finder
from crwedge.runtime.monitor import KEPT_OVER_A_GAP, LOST, TRUSTED
from crwedge.runtime.objects import AnyPrompt
from crwedge.runtime.propagation.context import Pixels
from crwedge.runtime.propagation.label_grid import repeated
from crwedge.runtime.propagation.rescale import rescaled
from crwedge.runtime.propagation.unseen import unseen_background
from crwedge.runtime.propagation.view import Size, View
from crwedge.runtime.quality import QualityLevel
from crwedge.runtime.region import Box, Region, around_all, box_around, object_boxes

_FINDER = "finder."
"""Prefix of the finder's tensors in a state."""
_FALL = 0.5
"""An object that loses this share of its area from one frame to the next is searched for."""
_PATIENCE = 4
"""Frames between two searches, at least, for all objects together."""


class Locator(Protocol):
    """Chooses the part of each frame that is computed."""

    everywhere: bool
    """Whether the last view has to be searched without a neighbourhood: the objects are not where they were."""

    @property
    def missing(self) -> Set[int]:
        """Objects that are searched for; cells with their label may be errors."""
        ...

    def view(self, pixels: Pixels, prompt: AnyPrompt | None) -> View:
        """The part of a frame RGB uint8 (H, W, 3) to compute, and its scale. The context is brought to that scale."""
        ...

    def revise(self, prediction: Prediction) -> Prediction:
        """Correct a prediction: cells that were never computed before cannot show an object."""
        ...

    def observe(self, prediction: Prediction, labels: LabelMap, prompted: bool) -> None:
        """Take a labelled frame, with or without a prompt."""
        ...

    def edit_labels(self, change: NDArray[np.float32], ids: tuple[int, ...]) -> None:
        """Objects were added or removed: these remain; see `Backend.edit_labels`."""
        ...

    def encode_again(self) -> None:
        """The encoder has new weights."""
        ...

    def set_quality(self, level: QualityLevel) -> None:
        """Reduce the work to a share of the full quality."""
        ...

    def state(self) -> ContextState:
        """Tensors and plain values, for a snapshot."""
        ...

    def restore(self, state: ContextState) -> None:
        """The inverse of `state`; other tensors are ignored."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


class WholeFrame:
    """Every frame is computed whole.

    Args:
        size: (H, W) to compute at.
    """

    everywhere = False
    missing: Set[int] = frozenset()

    def __init__(self, size: Size) -> None:
        self._view = View.whole(size)

    def view(self, pixels: Pixels, prompt: AnyPrompt | None) -> View:
        """See `Locator.view`."""
        return self._view

    def revise(self, prediction: Prediction) -> Prediction:
        """See `Locator.revise`."""
        return prediction

    def observe(self, prediction: Prediction, labels: LabelMap, prompted: bool) -> None:
        """See `Locator.observe`."""

    def edit_labels(self, change: NDArray[np.float32], ids: tuple[int, ...]) -> None:
        """See `Locator.edit_labels`."""

    def encode_again(self) -> None:
        """See `Locator.encode_again`."""

    def set_quality(self, level: QualityLevel) -> None:
        """See `Locator.set_quality`."""

    def state(self) -> ContextState:
        """See `Locator.state`."""
        return ContextState({}, {})

    def restore(self, state: ContextState) -> None:
        """See `Locator.restore`."""

    def close(self) -> None:
        """See `Locator.close`."""


class RegionLocator:
    """Follows the objects with a region, and searches the whole frame for those that are lost.

    Args:
        region: chooses part and scale.
        backend: of the tracker; its context is brought to the region's scale.
        finder: searches the overview of the region at full quality.
    """

    def __init__(self, region: Region, backend: Backend, finder: Finder) -> None:
        self.region = region
        self._overview = region.overview.grid
        self.everywhere = False
        self._backend, self._finder = backend, finder
        self._view: View | None = None
        self._before: View | None = None
        """The view of the last frame, at the scale of this one."""
        self._boxes: dict[int, Box | None] = {}
        self._lost: set[int] = set()
        self._areas: dict[int, float] = {}
        """Of each object, as share of the frame."""
        self._wait = 0

    @property
    def missing(self) -> Set[int]:
        """See `Locator.missing`."""
        return self._lost

    def view(self, pixels: Pixels, prompt: AnyPrompt | None) -> View:
        """See `Locator.view`."""
        self.everywhere, self._wait = False, max(0, self._wait - 1)
        if prompt is not None:
            # No motion is read from a prompt: what it corrects was wrong.
            self.region.jump(around_all([prompt_box(prompt), *self._boxes.values()]))
            self._lost -= set(prompt.ids)
        elif self._lost and not self._wait:
            self._search(pixels)
        view, last = self.region.view(), self._view
        if last is not None and view.size != last.size:
            self._backend.rescale(view, self.region.cells)
        self._view, self._before = view, rescaled(last, view.size) if last is not None else None
        return view

    def revise(self, prediction: Prediction) -> Prediction:
        """See `Locator.revise`."""
        support, settings = prediction.support, self._backend.settings
        if support is None or self._before is None or self.everywhere:
            return prediction
        share = unseen_background(support, prediction.features.view, self._before, settings.temperature)
        if share is None or not (share * (prediction.soft[0] < 1) > 0.01).any():
            return prediction
        share = repeated(share, settings.label_scale)
        labels = prediction.fine * (1 - share)
        labels[0] += share
        return self._backend.relabel(prediction, labels)

    def observe(self, prediction: Prediction, labels: LabelMap, prompted: bool) -> None:
        """See `Locator.observe`."""
        view = prediction.features.view.finer(self._backend.settings.label_scale)
        winner = prediction.fine.argmax(axis=0)
        boxes = object_boxes(view, winner, prediction.fine.shape[0])
        self._boxes = dict(zip(labels.object_ids, boxes, strict=True))
        self.region.follow(around_all(boxes))
        if labels.joints is not None:
            return
        if prompted and labels.frame is not None:
            soft, _ = area_labels(labels.ids, labels.object_ids, self._overview)
            self._finder.learn(labels.frame, soft)
        cells = np.bincount(winner.reshape(-1), minlength=1 + len(boxes))
        shares = cells[1:] / np.prod(grid_size(*view.size))
        areas = dict(zip(labels.object_ids, shares.tolist(), strict=True))
        fell = {i for i, area in areas.items() if not prompted and area < _FALL * self._areas.get(i, 0)}
        # It stays missing until it is found, or has come back to size: what is left of it may be a stray.
        self._areas = {i: area if prompted or i not in fell else self._areas[i] for i, area in areas.items()}
        self._lost = {i for i, state in labels.states.items() if state == LOST or self._boxes[i] is None} | fell

    def edit_labels(self, change: NDArray[np.float32], ids: tuple[int, ...]) -> None:
        """See `Locator.edit_labels`."""
        self._finder.edit_labels(change)
        self._boxes = {i: self._boxes.get(i) for i in ids}
        self._lost &= set(ids)

    def encode_again(self) -> None:
        """See `Locator.encode_again`."""
        self._finder.encode_again()

    def set_quality(self, level: QualityLevel) -> None:
        """See `Locator.set_quality`."""
        self.region.set_share(level.cells)

    def state(self) -> ContextState:
        """See `Locator.state`."""
        learnt = self._finder.state()
        tensors = {} if learnt is None else {_FINDER + name: value for name, value in learnt.tensors.items()}
        facts = {
            "region": self.region.state(),
            "view": None if self._view is None else [self._view.size, self._view.origin, self._view.grid],
            "boxes": [[i, None if box is None else box.tolist()] for i, box in self._boxes.items()],
            "lost": sorted(self._lost),
            "areas": list(self._areas.items()),
            "wait": self._wait,
            "finder": None if learnt is None else learnt.facts,
        }
        return ContextState(tensors, facts)

    def restore(self, state: ContextState) -> None:
        """See `Locator.restore`."""
        facts, mine = state.facts, {n: v for n, v in state.tensors.items() if n.startswith(_FINDER)}
        self.region.restore(facts["region"])
        self._view = None if facts["view"] is None else View.of(facts["view"])
        self._boxes = {int(i): None if box is None else np.array(box) for i, box in facts["boxes"]}
        self._lost, self._wait = {int(i) for i in facts["lost"]}, int(facts["wait"])
        self._areas = {int(i): float(area) for i, area in facts["areas"]}
        learnt = {name.removeprefix(_FINDER): value for name, value in mine.items()}
        self._finder.restore(None if facts["finder"] is None else ContextState(learnt, facts["finder"]))

    def close(self) -> None:
        """See `Locator.close`."""
        self._finder.close()

    def _search(self, pixels: Pixels) -> None:
        """Search the lost objects; the region moves to those that are found with certainty."""
        self._wait = _PATIENCE
        found = self._finder.find(pixels, tuple(self._boxes))
        sure = {i: one.box for i, one in found.items() if i in self._lost and one.confidence >= TRUSTED}
        if not sure:
            return
        self._areas = {i: area for i, area in self._areas.items() if i not in sure}
        kept = {i: box for i, box in self._boxes.items() if i not in self._lost and i not in sure}
        self.region.jump(around_all([*sure.values(), *kept.values()]))
        self.everywhere = True
        self._lost -= sure.keys()
        if not kept:
            self._backend.keep_trusted(TRUSTED, KEPT_OVER_A_GAP)


def open_locator(size: Size, backend: Backend) -> Locator:
    """The locator that the backend's settings ask for, for frames of `size` = (H, W)."""
    settings = backend.settings
    if settings.cells is None:
        return WholeFrame(size)
    region = Region(settings.cells, settings.region_margin, size)
    return RegionLocator(region, backend, Finder(backend, region.overview))


def prompt_box(prompt: AnyPrompt) -> Box | None:
    """The box around what a prompt shows, as shares of the frame's sides."""
    height, width = prompt.size
    if isinstance(prompt, KeypointPrompt):
        x, y = prompt.joints.xy[prompt.joints.visible].T + 0.5
        return np.array([y.min() / height, x.min() / width, y.max() / height, x.max() / width])
    shown = np.isin(prompt.mask, prompt.ids)
    return box_around(shown, (0, 0), prompt.size) if shown.any() else None
