"""The slots of the device's ring hold the same frames as the context on the CPU, whatever comes."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.context import ContextBuffer
from crwedge.runtime.cuda.slots import Slots


@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize(("length", "pinned"), [(1, 1), (3, 1), (4, 2), (2, 4)])
def test_same_frames_as_the_context_buffer(length: int, pinned: int, prefill: bool) -> None:
    settings = PropagationSettings(
        context_length=length, max_pinned=pinned, prefill=prefill, radius=3, first_frame="global"
    )
    rng = np.random.default_rng(length * 10 + pinned)
    slots, buffer = Slots(settings), ContextBuffer.from_settings(settings)
    held: dict[int, int] = {}
    for number in range(40):
        picture = np.full((1, 1, 1), number, np.float32)
        if number == 0 or rng.random() < 0.15:
            held[slots.pin()] = number
            buffer.pin(picture, picture)
        else:
            held[slots.query] = number
            slots.push()
            buffer.append(picture, picture)
        have = [(held[slot], everywhere, copies) for slot, everywhere, copies in slots.context()]
        want = [(int(f.features[0, 0, 0]), f.pinned, f.copies) for f in buffer.frames()]
        assert have == want
        assert slots.query not in {slot for slot, _, _ in slots.context()}
        assert slots.query < slots.count
