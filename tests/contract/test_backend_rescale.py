"""What every backend must do when the scale of the region changes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crwedge.runtime.backends.base import Search
from crwedge.runtime.propagation.view import View
from tests.backends import (
    SETTINGS,
    SIZE,
    Make,
    cpu,
    random_soft,
    video,
)

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")


def test_a_change_of_scale_is_the_cpu_s(make: Make) -> None:
    settings = SETTINGS.with_changes(cells=150, context_spacing="spread")
    backend, expected = make(settings), cpu(settings)
    frames, view = video(4), View(SIZE, (2, 3), (6, 7))
    softs = [random_soft(3, view.grid, seed) for seed in range(3)]
    for one in (backend, expected):
        for number, soft in enumerate(softs):
            prediction = one.label(one.encode(frames[number], view), soft)
            one.remember(prediction, pinned=number == 0, trust=1.0)
        one.rescale(View((66, 78), (1, 1), (6, 8)))
    mine, theirs = backend.state(), expected.state()
    assert mine.facts["views"] == theirs.facts["views"]
    labels = mine.tensors["labels"]
    np.testing.assert_allclose(labels, theirs.tensors["labels"][:, : labels.shape[1]], atol=1e-5)
    query = View((66, 78), (1, 1), (6, 8))
    found = [one.propagate(one.encode(frames[3], query), Search(settings)).soft for one in (backend, expected)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_labels_do_not_blur_over_changes_of_scale(make: Make) -> None:
    backend = make(SETTINGS.with_changes(cells=150))
    frames, view = video(3), View(SIZE, (2, 3), (6, 7))
    for number in (0, 1):
        prediction = backend.label(backend.encode(frames[number], view), random_soft(3, view.grid, number))
        backend.remember(prediction, pinned=number == 0, trust=1.0)
    before = backend.state()
    for size in ((66, 78), (74, 88), (60, 71)):
        backend.rescale(View.whole(size))
    backend.rescale(View.whole(SIZE))
    after = backend.state()
    assert after.facts["views"] == before.facts["views"]
    np.testing.assert_array_equal(after.tensors["labels"][:, : view.cells], before.tensors["labels"][:, : view.cells])
