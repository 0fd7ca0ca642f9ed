"""Which slot of the device's ring holds what. Numbers only; nothing here touches a device."""

from __future__ import annotations

from crwedge.core.settings import PropagationSettings


class Slots:
    """Slots 0 .. max_pinned - 1 are for frames that stay, the `context_length` + 1 after them are the ring.

    The ring has one slot more than the context is long: the frame being labelled lies there, because its labels are
    written while those of the oldest frame are still being read. With `prefill` the ring starts as copies of the frame
    that was pinned last, which are counted, not stored. The same rules as those of `ContextBuffer`.
    """

    def __init__(self, settings: PropagationSettings) -> None:
        """No frame yet."""
        self.settings = settings
        self.count = settings.max_pinned + settings.context_length + 1
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.pinned: list[int] = []
        self.ring: list[int] = []
        self.copies = 0
        self.copied = 0
        self.query = self.settings.max_pinned

    @property
    def empty(self) -> bool:
        """Whether there is nothing to look back at."""
        return not self.pinned

    def context(self) -> list[tuple[int, bool, int]]:
        """Slot, searched everywhere, copies of each frame: newest first, then the copies, then the pinned.

        Of equal similarities the first in this order is kept, as on the CPU.
        """
        everywhere = not self.settings.local
        found = [(slot, everywhere, 1) for slot in reversed(self.ring)]
        if self.copies:
            found.append((self.copied, everywhere, self.copies))
        return found + [(slot, everywhere or self.settings.first_frame == "global", 1) for slot in self.pinned]

    def pin(self) -> int:
        """The slot for a frame whose labels came from outside; the ring starts anew.

        When the only pinned place belongs to the first frame, a later one goes to the ring alone.
        """
        most = self.settings.max_pinned
        self.ring = []
        if len(self.pinned) < most:
            slot = len(self.pinned)
        elif most == 1:
            self.copies, slot = 0, self.query
            self.push()
            return slot
        else:
            slot = self.pinned.pop(1)
        self.pinned.append(slot)
        self.copies, self.copied = (self.settings.context_length if self.settings.prefill else 0), slot
        return slot

    def push(self) -> None:
        """The frame that was labelled joins the ring; the oldest makes way when the ring is full."""
        self.copies = max(0, self.copies - 1)
        self.ring.append(self.query)
        if len(self.ring) > self.settings.context_length:
            self.ring.pop(0)
        self.query = next(slot for slot in range(self.settings.max_pinned, self.count) if slot not in self.ring)
