"""The ring, the pinned frames and the copies of frame 0."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.context import ContextBuffer, memory_formula
from crwedge.runtime.propagation.view import View
from tests import reference


def made(length: int, pinned: int = 1, prefill: bool = True) -> ContextBuffer:
    return ContextBuffer(PropagationSettings(context_length=length, max_pinned=pinned, prefill=prefill))


def filled(buffer: ContextBuffer, frames: int) -> None:
    """Frame t is all t: features (2, 1, 1), labels (2, 1, 1)."""
    buffer.pin(np.zeros((2, 1, 1), np.float32), np.zeros((2, 1, 1), np.float32))
    for t in range(1, frames):
        buffer.append(np.full((2, 1, 1), t, np.float32), np.full((2, 1, 1), t, np.float32))


@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9, 20])
def test_holds_what_the_protocol_says(frames: int, prefill: bool) -> None:
    buffer = made(4, pinned=1, prefill=prefill)
    filled(buffer, frames)
    held = []
    for frame in buffer.frames():
        t = int(frame.features[0, 0, 0])
        assert buffer.labels_of(frame)[0, 0] == t
        held += [t] * frame.copies
    assert sorted(held) == sorted(reference.context_of(frames, 4, prefill))


def test_memory_is_taken_once() -> None:
    buffer = made(3, pinned=2)
    filled(buffer, 2)
    before = buffer.nbytes
    for _ in range(50):
        buffer.append(np.ones((2, 1, 1), np.float32), np.ones((2, 1, 1), np.float32))
    assert buffer.nbytes == before


def test_later_pins_never_displace_the_first() -> None:
    buffer = made(2, pinned=3)
    for t in range(7):
        buffer.pin(np.full((1, 1, 1), t, np.float32), np.ones((1, 1, 1), np.float32))
    pinned = [int(f.features[0, 0, 0]) for f in buffer.frames() if f.pinned]
    assert pinned == [0, 5, 6]


def test_a_single_place_stays_with_the_first_frame() -> None:
    buffer = made(2, pinned=1)
    for t in range(3):
        buffer.pin(np.full((1, 1, 1), t, np.float32), np.ones((1, 1, 1), np.float32))
    assert [int(f.features[0, 0, 0]) for f in buffer.frames() if f.pinned] == [0]
    assert [int(f.features[0, 0, 0]) for f in buffer.frames() if not f.pinned] == [2]


def test_a_later_pin_starts_the_ring_anew() -> None:
    buffer = made(3, pinned=2)
    filled(buffer, 6)
    buffer.pin(np.full((2, 1, 1), 9, np.float32), np.full((2, 1, 1), 9, np.float32))
    held = [(int(f.features[0, 0, 0]), f.copies, f.pinned) for f in buffer.frames()]
    assert held == [(9, 3, False), (0, 1, True), (9, 1, True)]
    buffer.append(np.full((2, 1, 1), 10, np.float32), np.full((2, 1, 1), 10, np.float32))
    held = [(int(f.features[0, 0, 0]), f.copies, f.pinned) for f in buffer.frames()]
    assert held == [(10, 1, False), (9, 2, False), (0, 1, True), (9, 1, True)]


def test_new_channels_are_zero_in_old_frames() -> None:
    buffer = made(2, pinned=1)
    filled(buffer, 2)
    buffer.edit_labels(np.eye(buffer.labels.shape[1], 4, dtype=np.float32))
    assert buffer.labels.shape[1] == 4
    assert (buffer.labels[:, 2:] == 0).all()


def test_the_memory_statement_is_what_is_allocated() -> None:
    chosen = PropagationSettings(context_length=3, storage="float16")
    buffer = ContextBuffer(chosen)
    buffer.pin(np.zeros((8, 5, 6), np.float32), np.zeros((2, 5, 6), np.float32))
    text, total = memory_formula(chosen, 30, 8, 2)
    assert total == buffer.nbytes
    assert "(3 + 4) x 30" in text


def test_a_dropped_channel_goes_to_the_background() -> None:
    buffer = made(2)
    soft = np.array([0.1, 0.2, 0.7], np.float32).reshape(3, 1, 1)
    buffer.pin(np.ones((2, 1, 1), np.float32), soft)
    change = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    buffer.edit_labels(change)
    np.testing.assert_allclose(buffer.labels_of(buffer.frames()[-1]), [[0.8, 0.2]], atol=1e-7)


def test_frames_of_different_extent_share_one_memory() -> None:
    buffer = made(2)
    small, large = View((80, 80), (2, 3), (2, 4)), View((80, 80), (0, 0), (5, 5))
    for value, view in ((1, small), (2, large), (3, small)):
        features = np.full((4, *view.grid), value, np.float32)
        (buffer.pin if value == 1 else buffer.append)(features, np.full((2, *view.grid), value, np.float32), view)
    for frame in buffer.frames():
        value = frame.features[0, 0, 0]
        assert frame.features.shape == (*frame.view.grid, 4)
        assert (frame.features == value).all()
        assert (buffer.labels_of(frame) == value).all()
    assert buffer.capacity == 25
    tensors, facts = buffer.state()
    other = made(2)
    other.restore(tensors, facts)
    for mine, theirs in zip(other.frames(), buffer.frames(), strict=True):
        assert (mine.view, mine.copies, mine.pinned) == (theirs.view, theirs.copies, theirs.pinned)
        np.testing.assert_array_equal(mine.features, theirs.features)
        np.testing.assert_array_equal(other.labels_of(mine), buffer.labels_of(theirs))
