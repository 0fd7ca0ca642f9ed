"""Which frames are in the context, and in which slot of its memory each one lies. No features, no labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.view import View


@dataclass(frozen=True)
class ContextFrame:
    """One frame of the context."""

    slot: int
    view: View
    """The part of the frame that was computed."""
    pinned: bool
    copies: int = 1
    """How many places it fills: the last pinned frame fills each place of the ring that no later frame has taken yet."""


@dataclass(frozen=True)
class FirstLabels:
    """Soft labels as a frame first had them: other scales are made from these, so that nothing is resampled twice."""

    view: View
    labels: NDArray[np.float32]
    """(h * w, K)."""


@dataclass
class _Held:
    view: View
    trust: float
    pixels: NDArray[np.uint8] | None
    count: int
    """Frames that had come when this one came."""
    first: FirstLabels | None = None


class ContextSlots:
    """Pinned frames and a ring of the last m.

    Slots 0 .. max_pinned - 1 hold frames that stay (the first frame and later ones that came with a prompt), the m slots
    after them are the ring. With `prefill` the ring starts as copies of the pinned frame: these are counted, not stored.

    Args:
        settings: `context_length` (m), `context_spacing`, `max_pinned`, `prefill` and `cells` are used. With `cells` the
            pixels of the pinned frames are kept, so that these can be encoded again at another scale.
        keep_frames: keep the pixels of every frame.
    """

    def __init__(self, settings: PropagationSettings, keep_frames: bool = False) -> None:
        self.length, self.max_pinned, self.prefill = settings.context_length, settings.max_pinned, settings.prefill
        self.spread, self.rescales = settings.context_spacing == "spread", settings.cells is not None
        self.keep_frames = keep_frames
        self._pinned: list[int] = []
        self._ring: list[int] = []
        """Oldest first."""
        self._held: dict[int, _Held] = {}
        self._copies = self._copied = 0
        self._count = self._pinned_at = 0

    @property
    def total(self) -> int:
        """All slots: m + max_pinned."""
        return self.length + self.max_pinned

    @property
    def empty(self) -> bool:
        """Whether the context is still empty."""
        return not self._pinned

    def frames(self, newest: int | None = None) -> list[ContextFrame]:
        """The frames newest first, so that a threshold is high early; the pinned ones, oldest first, come last.

        Args:
            newest: largest number of ring places to compare; None for all.
        """
        most = self.length if newest is None else newest
        found = [ContextFrame(slot, self._held[slot].view, False) for slot in self._ring[::-1][:most]]
        copies = min(self._copies, most - len(found))
        if copies:
            found.append(ContextFrame(self._copied, self._held[self._copied].view, False, copies))
        found += [ContextFrame(slot, self._held[slot].view, True) for slot in self._pinned]
        return found

    def pixels(self, slot: int) -> NDArray[np.uint8] | None:
        """RGB uint8 (H, W, 3) of the frame in a slot, where it was kept."""
        return self._held[slot].pixels

    def pinned_pixels(self, slot: int) -> NDArray[np.uint8] | None:
        """The same, of a pinned frame; None for a frame of the ring."""
        return self.pixels(slot) if slot in self._pinned else None

    @property
    def in_use(self) -> list[int]:
        """Slots that hold a frame, in rising order."""
        return sorted({*self._pinned, *self._ring})

    def view(self, slot: int) -> View:
        """The view of the frame in a slot."""
        return self._held[slot].view

    def edit_first(self, change: NDArray[np.float32]) -> None:
        """Multiply the labels that frames first had with `change` (K, K')."""
        for held in self._held.values():
            if held.first is not None:
                held.first = FirstLabels(held.first.view, held.first.labels @ change)

    def first_labels(self, slot: int, labels: NDArray[np.float32]) -> FirstLabels:
        """What the frame in a slot was labelled with, and where. They are kept at the first change of its scale.

        Args:
            slot: in use.
            labels: (h * w, K) soft labels that it has now.
        """
        held = self._held[slot]
        if held.first is None:
            held.first = FirstLabels(held.view, labels.copy())
        return held.first

    def set_view(self, slot: int, view: View) -> None:
        """The frame in a slot was computed again, or resampled, for another view."""
        self._held[slot].view = view

    def pin(self, view: View, trust: float = 1.0, pixels: NDArray[np.uint8] | None = None) -> int:
        """Make room for a frame whose labels came from outside; returns its slot.

        The ring is reset: full of copies of this frame when `prefill` is on, else empty. Otherwise the predictions before a
        correction would outvote it, m frames against one. Beyond `max_pinned` the oldest frame but the
        first is dropped; where only one can be pinned, a later frame goes to the ring.
        """
        self._ring = []
        if len(self._pinned) < self.max_pinned:
            slot = len(self._pinned)
        elif self.max_pinned == 1:
            self._copies = 0
            return self.append(view, trust, pixels)
        else:
            slot = self._pinned.pop(1)
        self._pinned.append(slot)
        self._copies, self._copied = self.length if self.prefill else 0, slot
        self._count += 1
        self._pinned_at = self._count
        return self._hold(slot, view, trust, pixels)

    def append(self, view: View, trust: float = 1.0, pixels: NDArray[np.uint8] | None = None) -> int:
        """Make room in the ring, where a frame falls out when it is full; returns the slot.

        The oldest falls out, or with `context_spacing` the one without which the ages are nearest to 1, 2, 4, ...
        """
        self._count += 1
        if self.spread:
            # A place is a copy of the pinned frame until frames are as old as it asks for.
            held = sum(2**place <= self._count - self._pinned_at for place in range(self.length))
            self._copies = min(self._copies, self.length - held)
        elif self._copies:
            self._copies -= 1
        if len(self._ring) < self.length - (self._copies if self.spread else 0):
            slot = min(set(range(self.max_pinned, self.total)) - set(self._ring))
        else:
            slot = self._ring.pop(self._superfluous() if self.spread else 0)
        self._ring.append(slot)
        return self._hold(slot, view, trust, pixels)

    def _superfluous(self) -> int:
        """Position in the ring of the frame that is to fall out, with the one that comes now having age 1."""
        ages = [self._count - self._held[slot].count + 1 for slot in self._ring]

        def misfit(left_out: int) -> float:
            kept = [1, *(age for i, age in reversed(list(enumerate(ages))) if i != left_out)]
            return sum(abs(math.log2(age) - place) for place, age in enumerate(kept))

        return min(range(len(ages)), key=misfit)

    def keep_trusted(self, trust: float, count: int) -> None:
        """Drop every frame of the ring but the `count` newest of at least this trust, and the copies that fill it."""
        sure = [slot for slot in self._ring if self._held[slot].trust >= trust]
        self._ring, self._copies = sure[-count:], 0

    def state(self) -> dict[str, Any]:
        """Plain values: what `restore` takes."""
        held = [(slot, self._held[slot]) for slot in self.in_use]
        return {
            "pinned": list(self._pinned),
            "ring": list(self._ring),
            "copies": self._copies,
            "copied": self._copied,
            "length": self.length,
            "views": [[slot, h.view.size, h.view.origin, h.view.grid] for slot, h in held],
            "trust": [[slot, h.trust] for slot, h in held],
            "counts": [[slot, h.count] for slot, h in held],
            "count": [self._count, self._pinned_at],
            "first": [[slot, h.first.view.size, h.first.view.origin, h.first.view.grid] for slot, h in held if h.first],
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Pixels and first labels, where they are kept for other scales: `restore` takes them with `state`."""
        found: dict[str, NDArray[Any]] = {}
        for slot in self.in_use if self.rescales else ():
            held = self._held[slot]
            if held.pixels is not None:
                found[f"pixels.{slot}"] = held.pixels.copy()
            if held.first is not None:
                found[f"first.{slot}"] = held.first.labels.copy()
        return found

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of slots of the same settings, with the `tensors` of the same moment.

        Raises:
            ValueError: it is of other settings, or does not fit together.
        """
        pinned, ring = [int(s) for s in state["pinned"]], [int(s) for s in state["ring"]]
        views = {int(slot): View.of(rest) for slot, *rest in state["views"]}
        trust = {int(slot): float(value) for slot, value in state["trust"]}
        if not pinned or state["length"] != self.length or not set(pinned) | set(ring) == set(views) == set(trust):
            raise ValueError("the context does not fit together")
        if max(pinned) >= self.max_pinned or not all(self.max_pinned <= slot < self.total for slot in ring):
            raise ValueError("a frame of the context has a position that is not possible")
        self._pinned, self._ring = pinned, ring
        self._copies, self._copied = int(state["copies"]), int(state["copied"])
        self._count, self._pinned_at = int(state["count"][0]), int(state["count"][1])
        counts = {int(slot): int(count) for slot, count in state["counts"]}
        self._held = {
            slot: _Held(views[slot], trust[slot], tensors.get(f"pixels.{slot}"), counts[slot]) for slot in views
        }
        for slot, *rest in state["first"]:
            self._held[int(slot)].first = FirstLabels(View.of(rest), tensors[f"first.{int(slot)}"])

    def clear(self) -> None:
        """Forget all frames."""
        self._pinned, self._ring, self._held = [], [], {}
        self._copies = self._copied = self._count = self._pinned_at = 0

    def _hold(self, slot: int, view: View, trust: float, pixels: NDArray[np.uint8] | None) -> int:
        keep = self.keep_frames or (self.rescales and slot in self._pinned)
        self._held[slot] = _Held(view, trust, pixels if keep else None, self._count)
        return slot
