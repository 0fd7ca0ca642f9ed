"""Views: geometry, and propagation between views of different origin and extent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.propagator import LabelPropagator, labels_to_ids
from crwedge.runtime.propagation.view import HALO, View
from tests import reference

SIZE = (140, 180)
FULL = grid_size(*SIZE)
PROTOCOL = PropagationSettings(context_length=2, topk=4, radius=4)


@st.composite
def views(draw: st.DrawFn) -> View:
    y, x = (draw(st.integers(0, n - 1)) for n in FULL)
    return View(SIZE, (y, x), (draw(st.integers(1, FULL[0] - y)), draw(st.integers(1, FULL[1] - x))))


def fields(seed: int, frames: int = 4, c: int = 8, k: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit features (T, C, h, w) and soft labels (T, K, h, w) of whole frames."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(frames, c, *FULL)).astype(np.float32)
    features[1:] = 0.6 * features[1:] + features[:1]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    soft = rng.dirichlet(np.ones(k), size=(frames, *FULL)).astype(np.float32)
    return features, np.ascontiguousarray(soft.transpose(0, 3, 1, 2))


@settings(max_examples=15, deadline=None)
@given(views(), views(), views(), st.sampled_from(["global", "restricted"]), st.integers(1, 3), st.integers(0, 99))
def test_views_are_compared_in_coordinates_of_the_frame(
    first: View, second: View, query: View, first_frame: str, workers: int, seed: int
) -> None:
    features, soft = fields(seed)
    protocol = PROTOCOL.with_changes(first_frame=first_frame)
    context = ContextBuffer(protocol)
    context.pin(first.part(features[0]), first.part(soft[0]), first)
    context.append(second.part(features[1]), second.part(soft[1]), second)
    propagator = LabelPropagator(protocol, workers)
    entropy, support = np.empty(query.cells, np.float32), np.empty(query.cells, np.float32)
    got = propagator(query.part(features[2]), context, query, entropy=entropy, support=support)
    propagator.close()
    # The pinned frame, the one place of the ring that it still fills, and the frame that came after it.
    parts = (first, 0), (first, 0), (second, 1)
    expected, undecided, alike = reference.step_in_views(
        query.part(features[2]),
        query.origin,
        [view.part(features[t]) for view, t in parts],
        [view.origin for view, _ in parts],
        [view.part(soft[t]).astype(np.float64) for view, t in parts],
        k=protocol.topk, radius=protocol.radius, temperature=protocol.temperature, first_frame=first_frame,
    )  # fmt: skip
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert ((entropy >= 0) & (entropy <= 1 + 1e-6)).all()
    np.testing.assert_allclose(entropy, undecided.reshape(-1), atol=1e-4)
    np.testing.assert_allclose(support, alike.reshape(-1), atol=1e-5)


def test_cells_within_reach_of_the_whole_frame_are_those_of_the_whole_frame() -> None:
    features, soft = fields(1)
    query = View(SIZE, (4, 5), (6, 7))
    whole = View.whole(SIZE)
    # What the neighbourhoods of the query reach: no more is looked at.
    reached = View(SIZE, (1, 2), (12, 13))
    protocol = PROTOCOL.with_changes(first_frame="restricted")
    results = []
    for view in (whole, reached):
        context = ContextBuffer(protocol)
        context.pin(view.part(features[0]), view.part(soft[0]), view)
        context.append(view.part(features[1]), view.part(soft[1]), view)
        results.append(LabelPropagator(protocol, 1)(query.part(features[2]), context, query))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_frames_of_another_scale_are_refused() -> None:
    features, soft = fields(2)
    context = ContextBuffer(PROTOCOL)
    context.pin(features[0], soft[0], View.whole(SIZE))
    with pytest.raises(Exception, match="do not fit"):
        LabelPropagator(PROTOCOL, 1)(features[1], context, View((FULL[0] * 8, FULL[1] * 8), (0, 0), FULL))


@settings(max_examples=30, deadline=None)
@given(views(), st.tuples(st.integers(16, 300), st.integers(16, 300)), st.sampled_from(["none", "minmax"]))
def test_ids_of_a_view_are_a_part_of_the_frame(view: View, size: tuple[int, int], norm: str) -> None:
    _, soft = fields(3)
    ids = labels_to_ids(view.part(soft[0]), (4, 9), size, norm, view)
    assert ids.shape == size
    rows, columns = view.frame_box(size)
    outside = np.ones(size, bool)
    outside[rows, columns] = False
    assert (ids[outside] == 0).all()
    for axis, box in enumerate((rows, columns)):
        cells = ((np.arange(size[axis]) + 0.5) * FULL[axis] / size[axis]).astype(int)
        inside = (cells >= view.origin[axis]) & (cells < view.origin[axis] + view.grid[axis])
        np.testing.assert_array_equal(np.flatnonzero(inside), np.arange(size[axis])[box])
    if norm == "none":
        whole = labels_to_ids(soft[0], (4, 9), size)
        # Half a cell from the view's edge nothing outside of it has a say.
        steps = [-(-size[axis] // FULL[axis]) for axis in (0, 1)]
        inner = tuple(
            slice(box.start + step, max(box.start + step, box.stop - step))
            for box, step in zip((rows, columns), steps, strict=True)
        )
        np.testing.assert_array_equal(ids[inner], whole[inner])


@settings(max_examples=30, deadline=None)
@given(views(), st.integers(0, 5))
def test_pixels_of_a_view_are_a_part_of_the_scaled_frame(view: View, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
    pixels = view.pixels(frame)
    y, x = view.origin
    assert grid_size(*pixels.shape[:2]) == view.grid
    assert pixels.shape[:2] == view.pixel_size
    np.testing.assert_array_equal(pixels, frame[8 * y : 8 * (y + view.grid[0]), 8 * x : 8 * (x + view.grid[1])])
    maps = np.random.default_rng(seed).random((2, *FULL)).astype(np.float32)
    np.testing.assert_array_equal(view.part(view.embed(view.part(maps))), view.part(maps))


@pytest.mark.parametrize("origin", [(-1, 0), (0, 18), (17, 0)])
def test_a_view_lies_inside_its_frame(origin: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie"):
        View(SIZE, origin, (2, 6))


@settings(max_examples=30, deadline=None)
@given(views())
def test_the_halo_is_encoded_and_dropped(view: View) -> None:
    features, _ = fields(4)
    wide = view.encoded
    np.testing.assert_array_equal(view.without_halo(wide.part(features[0])), view.part(features[0]))
    for axis in (0, 1):
        first, last = view.origin[axis], view.origin[axis] + view.grid[axis]
        assert wide.origin[axis] == max(0, first - HALO)
        assert wide.origin[axis] + wide.grid[axis] == min(FULL[axis], last + HALO)
    assert View.whole(SIZE).encoded == View.whole(SIZE)
