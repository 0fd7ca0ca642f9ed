"""What every backend must do when the scale of the region changes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crwedge.runtime.backends.base import Backend, Search
from crwedge.runtime.propagation.rescale import resample_features, rescaled
from crwedge.runtime.propagation.view import View
from tests.backends import (
    SETTINGS,
    SIZE,
    CellEngine,
    Make,
    cpu,
    random_soft,
    video,
)

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")

CELLS = 150
REGION = SETTINGS.with_changes(cells=CELLS, context_spacing="spread")
VIEW, OTHER = View(SIZE, (2, 3), (6, 7)), View((66, 78), (1, 1), (6, 8))


def fill(backend: Backend, frames: int) -> None:
    """So many frames with labels from outside; the first is pinned."""
    for number, frame in enumerate(video(frames)):
        prediction = backend.label(backend.encode(frame, VIEW), random_soft(3, VIEW.grid, number))
        backend.remember(prediction, pinned=number == 0, trust=1.0)


def test_a_change_of_scale_is_the_cpu_s(make: Make) -> None:
    backend, expected = make(REGION), cpu(REGION)
    for one in (backend, expected):
        fill(one, 3)
        one.rescale(OTHER, CELLS)
    mine, theirs = backend.state(), expected.state()
    assert mine.facts["views"] == theirs.facts["views"]
    labels = mine.tensors["labels"]
    np.testing.assert_allclose(labels, theirs.tensors["labels"][:, : labels.shape[1]], atol=1e-5)
    found = [one.propagate(one.encode(video(4)[3], OTHER), Search(REGION)).soft for one in (backend, expected)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_the_pinned_frame_is_encoded_again_and_the_others_are_resampled(make: Make) -> None:
    backend = make(REGION)
    fill(backend, 2)
    before = backend.state().tensors["features"]
    backend.rescale(OTHER, CELLS)
    after, covered = backend.state().tensors["features"], rescaled(VIEW, OTHER.size)
    pinned = backend.encode(video(1)[0], covered).numpy().transpose(1, 2, 0).reshape(covered.cells, -1)
    np.testing.assert_allclose(after[0, : covered.cells], pinned, atol=2e-3)
    resampled = resample_features(before[1, : VIEW.cells].astype(np.float32), VIEW, covered)
    np.testing.assert_allclose(after[1, : covered.cells], resampled, atol=2e-3)
    assert np.abs(resampled - pinned).max() > 0.05


def test_labels_do_not_blur_over_changes_of_scale(make: Make) -> None:
    backend = make(REGION)
    fill(backend, 2)
    before = backend.state()
    for size in ((66, 78), (74, 88), (60, 71), (66, 78), SIZE):
        backend.rescale(View.whole(size), CELLS)
    after = backend.state()
    assert after.facts["views"] == before.facts["views"]
    np.testing.assert_array_equal(after.tensors["labels"][:, : VIEW.cells], before.tensors["labels"][:, : VIEW.cells])


def test_a_part_that_was_left_out_does_not_come_back_with_features_that_it_never_had(make: Make) -> None:
    backend = make(REGION)
    fill(backend, 2)
    # Twice as fine: a frame has more cells than there is room for, and those near the view are kept.
    fine = View((2 * SIZE[0], 2 * SIZE[1]), (4, 6), (8, 8))
    backend.rescale(fine, 64)
    views = {slot: View.of(rest) for slot, *rest in backend.state().facts["views"]}
    assert all(view.cells <= 64 for view in views.values())
    backend.rescale(VIEW, 64)
    pinned, ring = (View.of(rest) for _, *rest in backend.state().facts["views"])
    assert pinned == VIEW, "its pixels are there"
    assert ring.cells < VIEW.cells


def test_other_weights_after_a_change_of_scale(make: Make) -> None:
    backend, expected = make(REGION, keep_frames=True), cpu(REGION, weights=1)
    for one in (backend, expected):
        fill(one, 1)
        one.rescale(OTHER, CELLS)
    backend.use(CellEngine(weights=1))
    backend.encode_again(lambda pixels: None)
    found = [one.propagate(one.encode(video(2)[1], OTHER), Search(REGION)).soft for one in (backend, expected)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
