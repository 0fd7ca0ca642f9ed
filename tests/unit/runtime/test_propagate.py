"""The fast propagation against the oracle, and the properties that any propagation must have."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import resize_linear, soft_labels
from crwedge.core.masks import VOID
from crwedge.core.prompts import MaskPrompt
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.attention import strip_height
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.neighbourhood import half_heights
from crwedge.runtime.propagation.propagate import propagate_masks, propagate_soft
from crwedge.runtime.propagation.propagator import LabelPropagator, labels_to_ids
from tests import reference


def made(
    frames: int = 6, c: int = 16, h: int = 11, w: int = 14, k: int = 3, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit features (T, C, h, w) that resemble each other, and first soft labels (K, h, w)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(frames, c, h, w)).astype(np.float32)
    features[1:] = 0.5 * features[1:] + features[:1]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    soft = rng.dirichlet(np.ones(k), size=(h, w)).astype(np.float32)
    return features, np.ascontiguousarray(soft.transpose(2, 0, 1))


EVERY = list(
    itertools.product(("disc", "square"), ("global", "restricted"), ("joint", "frame"), (True, False), (3.5, math.inf))
)


@pytest.mark.parametrize(("window", "first_frame", "topk_over", "prefill", "radius"), EVERY)
def test_equals_the_oracle_for_every_setting(
    window: str, first_frame: str, topk_over: str, prefill: bool, radius: float
) -> None:
    features, soft = made(frames=5, h=7, w=9)
    chosen = PropagationSettings(
        context_length=3, topk=4, radius=radius, window=window, first_frame=first_frame,  # type: ignore[arg-type]
        topk_over=topk_over, prefill=prefill,  # type: ignore[arg-type]
    )  # fmt: skip
    got = list(propagate_soft(features, soft, chosen, workers=2))
    expected = reference.propagate(
        list(features), soft, m=3, k=4, radius=radius, temperature=0.07, window=window, first_frame=first_frame,
        topk_over=topk_over, prefill=prefill,
    )  # fmt: skip
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_tiles_and_strips_meet_at_their_borders() -> None:
    # Larger than one tile and one strip in both directions, and no multiple of either.
    features, soft = made(frames=3, h=27, w=31, c=8)
    chosen = PropagationSettings(context_length=2, topk=5, radius=6)
    got = list(propagate_soft(features, soft, chosen, workers=2))
    expected = reference.propagate(list(features), soft, m=2, k=5, radius=6, temperature=0.07)
    np.testing.assert_allclose(got[-1], expected[-1], atol=2e-6)


def test_the_dense_reference_is_the_loop_reference() -> None:
    features, soft = made(frames=4)
    keys, labels = list(features[:3]), [soft.astype(np.float64)] * 3
    slow = reference.step(features[3], keys, labels, k=5, radius=4, temperature=0.07)
    dense, _ = reference.dense_step(features[3], keys, labels, k=5, radius=4, temperature=0.07, block=50)
    np.testing.assert_allclose(dense, slow, atol=1e-12)


def test_threads_do_not_change_a_bit() -> None:
    features, soft = made(frames=4, h=27, w=31)
    one = list(propagate_soft(features, soft, workers=1))
    assert all((a == b).all() for a, b in zip(one, propagate_soft(features, soft, workers=1), strict=True))
    # Another number of workers cuts other strips, so sums may round differently, but no more than that.
    for a, b in zip(one, propagate_soft(features, soft, workers=3), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_half_storage_is_float32_on_rounded_features() -> None:
    features, soft = made(frames=5)
    rounded = features.astype(np.float16).astype(np.float32)
    # The ring holds rounded features; the query itself is not stored before it was compared.
    half = PropagationSettings(context_length=3, topk=4, radius=4, storage="float16")
    context = ContextBuffer(half)
    context.pin(features[0], soft)
    for frame in features[1:4]:
        context.append(frame, soft)
    plain = ContextBuffer(half.with_changes(storage="float32"))
    plain.pin(rounded[0], soft)
    for frame in rounded[1:4]:
        plain.append(frame, soft)
    propagator = LabelPropagator(half, workers=1)
    np.testing.assert_array_equal(propagator(features[4], context), propagator(features[4], plain))


def test_rows_sum_to_one_and_lie_within_the_labels() -> None:
    features, soft = made()
    for labels in propagate_soft(features, soft, PropagationSettings(context_length=2, radius=4)):
        np.testing.assert_allclose(labels.sum(axis=0), 1, atol=1e-5)
        assert labels.min() >= 0


def test_a_still_video_keeps_its_mask() -> None:
    features, _ = made(frames=1, c=64)
    mask = np.zeros((88, 112), np.uint8)
    mask[24:56, 32:80] = 1
    soft, _ = soft_labels(mask, (1,), (11, 14))
    still = np.repeat(features, 8, axis=0)
    chosen = PropagationSettings(context_length=4, topk=5, radius=4)
    last = list(propagate_soft(still, soft, chosen))[-1]
    # Only the corners of the rectangle, softened by the resize to the grid, may round off.
    assert (labels_to_ids(last, (1,), mask.shape) == mask).mean() > 0.99


@settings(max_examples=10, deadline=None)
@given(st.permutations([0, 1, 2, 3]))
def test_permuting_channels_permutes_the_result(order: list[int]) -> None:
    features, soft = made(frames=3, k=4, h=6, w=7)
    chosen = PropagationSettings(context_length=2, topk=3, radius=3)
    plain = list(propagate_soft(features, soft, chosen, workers=1))[-1]
    permuted = list(propagate_soft(features, soft[order], chosen, workers=1))[-1]
    np.testing.assert_array_equal(plain[order], permuted)


def test_shifting_everything_shifts_the_result() -> None:
    features, soft = made(frames=3, h=20, w=20)
    rolled, rolled_soft = np.roll(features, 3, axis=3), np.roll(soft, 3, axis=2)
    chosen = PropagationSettings(context_length=2, topk=3, radius=3, first_frame="restricted")
    plain = list(propagate_soft(features, soft, chosen, workers=1))[1]
    shifted = list(propagate_soft(rolled, rolled_soft, chosen, workers=1))[1]
    # Away from the borders that the shift brought in.
    np.testing.assert_allclose(plain[:, 3:-3, 3:12], shifted[:, 3:-3, 6:15], atol=1e-6)


def test_the_disc_of_radius_12_has_437_offsets() -> None:
    half = half_heights(PropagationSettings(radius=12))
    count = sum((1 if dx == 0 else 2) * (2 * int(tall) + 1) for dx, tall in enumerate(half))
    assert count == 437
    assert len(half_heights(PropagationSettings(radius=12, window="square"))) == 13
    # A radius beyond every frame is a neighbourhood like others, not a list of its length.
    assert len(half_heights(PropagationSettings(radius=1e12))) < 100_000


@pytest.mark.parametrize("h", [1, 2, 7, 8, 15, 60, 90, 135])
@pytest.mark.parametrize("workers", [1, 2, 6])
def test_strips_are_of_sane_height(h: int, workers: int) -> None:
    assert 1 <= strip_height(h, workers) <= min(h, 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features, soft = made(frames=2)
    features[1, 0, 3, 3] = bad
    with pytest.raises(CrwedgeError, match="not finite"):
        list(propagate_soft(features, soft))


def test_output_equals_resize_and_argmax() -> None:
    rng = np.random.default_rng(1)
    soft = rng.dirichlet(np.ones(5) * 0.2, size=(9, 13)).astype(np.float32).transpose(2, 0, 1)
    soft = np.ascontiguousarray(np.where(soft < 0.05, 0, soft))
    ids = np.array([0, 3, 7, 9, 200], np.uint8)
    for size in ((72, 104), (70, 101), (9, 13), (33, 47)):
        expected = reference.resize_linear(soft.astype(np.float64), size)
        got = labels_to_ids(soft, (3, 7, 9, 200), size)
        ranked = np.sort(expected, axis=0)
        clear = ranked[-1] - ranked[-2] > 1e-6
        assert (got == ids[expected.argmax(axis=0)])[clear].all()
        np.testing.assert_allclose(resize_linear(soft, size), expected, atol=1e-6)
    stretched = labels_to_ids(soft, (3, 7, 9, 200), (72, 104), "minmax")
    maps = reference.resize_linear(soft.astype(np.float64), (72, 104))
    maps = (maps - maps.min((1, 2), keepdims=True)) / np.ptp(maps, (1, 2), keepdims=True)
    assert (stretched == ids[maps.argmax(axis=0)]).mean() > 0.9999


def test_masks_are_the_soft_labels_read_out() -> None:
    features, _ = made(frames=4)
    mask = np.zeros((88, 110), np.uint8)
    mask[20:60, 10:50], mask[30:70, 60:100], mask[:8, :8] = 3, 7, VOID
    chosen = PropagationSettings(context_length=2, topk=4, radius=5)
    soft = list(propagate_soft(features, MaskPrompt(mask).soft((11, 14)), chosen, workers=1))
    for size in (None, (44, 55)):
        got = list(propagate_masks(iter(features), mask, size, chosen, workers=1))
        expected = [labels_to_ids(labels, (3, 7), size or mask.shape) for labels in soft]
        if size is None:
            # The mask itself is the answer where it says something.
            expected[0] = np.where(mask == VOID, expected[0], mask)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_hidden_ids_leave_their_pixels_to_the_next_best() -> None:
    features, _ = made(frames=3)
    mask = np.zeros((88, 110), np.uint8)
    mask[20:60, 10:50], mask[30:70, 60:100] = 3, 7
    chosen = PropagationSettings(context_length=2, topk=4, radius=5)
    plain = list(propagate_masks(features, mask, settings=chosen, workers=1))
    hidden = list(propagate_masks(features, mask, settings=chosen, workers=1, hidden=(7,)))
    assert (hidden[0] == mask).all()
    for a, b in zip(plain[1:], hidden[1:], strict=True):
        assert 7 in a
        assert 7 not in b
        # Only pixels of the hidden id change.
        np.testing.assert_array_equal(a[a != 7], b[a != 7])


def test_no_frame_gives_no_mask() -> None:
    assert list(propagate_masks([], np.ones((16, 16), np.uint8))) == []
