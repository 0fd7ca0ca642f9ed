"""What every backend must do, run against the CPU and an emulated CUDA device: labels, entropy and label maps of a frame."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.runtime.backends.base import Search
from crwedge.runtime.propagation.view import View
from tests import reference
from tests.backends import (
    GRID,
    SETTINGS,
    SIZE,
    CellEngine,
    Make,
    cpu,
    random_soft,
    video,
    views,
    whole,
)

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
CASES = {
    "crw": SETTINGS,
    "restricted first frame": SETTINGS.with_changes(first_frame="restricted"),
    "square, empty start": SETTINGS.with_changes(window="square", radius=2, first_frame="restricted", prefill=False),
    "no restriction": SETTINGS.with_changes(radius=math.inf, context_length=2),
    "k in each frame": SETTINGS.with_changes(topk_over="frame", topk=3),
    "k in each frame, restricted": SETTINGS.with_changes(topk_over="frame", radius=1.5, first_frame="restricted"),
    "k 1": SETTINGS.with_changes(topk=1),
    "k 32": SETTINGS.with_changes(topk=32, temperature=0.2, radius=4),
    "fewer cells than k": SETTINGS.with_changes(
        context_length=1, topk=32, radius=1.5, first_frame="restricted", prefill=False
    ),
    "radius beyond the grid": SETTINGS.with_changes(context_length=2, radius=40, first_frame="restricted"),
}


@pytest.mark.parametrize("where", [whole, views])
@pytest.mark.parametrize("name", CASES)
def test_soft_labels_equal_the_reference(make: Make, name: str, where: Callable[[int], View]) -> None:
    settings, frames, engine = CASES[name], video(7), CellEngine()
    backend = make(settings)
    options = {
        name: getattr(settings, name) for name in ("radius", "temperature", "window", "first_frame", "topk_over")
    }
    seen = [engine.run(where(t).pixels(frame)) for t, frame in enumerate(frames)]
    labels = [random_soft(3, where(0).grid).astype(np.float64)]
    features = backend.encode(frames[0], where(0))
    np.testing.assert_array_equal(features.numpy(), seen[0])
    backend.remember(backend.label(features, labels[0].astype(np.float32)), pinned=True, trust=1)
    for t in range(1, len(frames)):
        context = reference.context_of(t, settings.context_length, settings.prefill)
        if settings.topk_over == "frame":
            context = sorted(context)  # copies weigh as much as frames of their own
        want, _, _ = reference.step_in_views(
            seen[t], where(t).origin, [seen[i] for i in context], [where(i).origin for i in context],
            [labels[i] for i in context], k=settings.topk, **options,
        )  # fmt: skip
        prediction = backend.propagate(backend.encode(frames[t], where(t)), Search(settings))
        np.testing.assert_allclose(prediction.soft, want, atol=1e-5)
        labels.append(want)
        backend.remember(prediction, pinned=False, trust=1)


@pytest.mark.parametrize("topk_over", ["joint", "frame"])
@pytest.mark.parametrize("where", [whole, views])
def test_entropy_and_support_equal_the_reference(make: Make, topk_over: str, where: Callable[[int], View]) -> None:
    settings = SETTINGS.with_changes(topk_over=topk_over, prefill=False, first_frame="restricted")
    frames, engine = video(3), CellEngine()
    backend = make(settings)
    labels = [random_soft(2, where(0).grid)]
    seen = [engine.run(where(t).pixels(frame)) for t, frame in enumerate(frames)]
    backend.remember(backend.label(backend.encode(frames[0], where(0)), labels[0]), pinned=True, trust=1)
    for t in (1, 2):
        prediction = backend.propagate(
            backend.encode(frames[t], where(t)), Search(settings, entropy=True, support=True)
        )
        _, want, support = reference.step_in_views(
            seen[t], where(t).origin, seen[:t], [where(i).origin for i in range(t)],
            [one.astype(np.float64) for one in labels], k=settings.topk, radius=settings.radius,
            temperature=settings.temperature, first_frame="restricted", topk_over=topk_over,
        )  # fmt: skip
        np.testing.assert_allclose(cast(Any, prediction).entropy, want.ravel(), atol=1e-4)
        swapped = np.ascontiguousarray(prediction.soft[::-1])
        other = backend.relabel(prediction, swapped)
        np.testing.assert_array_equal(other.soft, swapped)
        for one in (prediction, other):
            np.testing.assert_allclose(cast(Any, one).support, support, atol=1e-5)
            np.testing.assert_allclose(cast(Any, one).entropy, want.ravel(), atol=1e-4)
        labels.append(prediction.soft)
        backend.remember(prediction, pinned=False, trust=1)


@pytest.mark.parametrize("labels", [2, 3, 40])
@pytest.mark.parametrize("size", [(70, 85), SIZE, (31, 300), (5, 6)])
def test_ids_are_the_reference_s_and_background_outside_the_view(
    make: Make, labels: int, size: tuple[int, int]
) -> None:
    backend, frame = make(), video(1)[0]
    ids = tuple(range(3, 2 + labels))
    for view in (View.whole(SIZE), views(0), views(5)):
        soft = random_soft(labels, view.grid, seed=labels)
        have = backend.label(backend.encode(frame, view), soft).ids(ids, size)
        full = np.pad(
            soft.astype(np.float64),
            [(0, 0)] + [(o, total - o - n) for o, n, total in zip(view.origin, view.grid, GRID, strict=True)],
            mode="edge",  # positions are clamped to the view
        )
        table = np.array((0, *ids), np.uint8)
        want = np.zeros(size, np.uint8)
        box = view.frame_box(size)
        want[box] = table[reference.resize_linear_fast(full, size).argmax(axis=0)][box]
        assert (have == want).mean() >= 0.999
        outside = np.ones(size, np.bool_)
        outside[box] = False
        assert not have[outside].any()


@pytest.mark.parametrize("view", [View.whole(SIZE), views(3)])
def test_stretched_maps_are_the_cpu_s(make: Make, view: View) -> None:
    settings = SETTINGS.with_changes(output_norm="minmax")
    frame, soft = video(1)[0], random_soft(3, view.grid)
    one, other = make(settings), cpu(settings)
    have, want = (b.label(b.encode(frame, view), soft).ids((1, 2), (70, 85)) for b in (one, other))
    assert (have == want).mean() >= 0.999
    assert set(np.unique(want)) == {0, 1, 2}
    other.close()


def test_features_that_are_not_finite_are_refused_and_the_next_frame_goes_on(make: Make) -> None:
    class Broken(CellEngine):
        def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            features = super().run(frame)
            features[3, 2, 5] = np.nan
            return features

    frames, backend = video(2), make()
    soft = random_soft(2, GRID)
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), soft), pinned=True, trust=1)
    good = backend.encode(frames[1], whole(1))
    backend.use(Broken())
    bad = backend.encode(frames[1], whole(1))
    for use in (lambda: backend.propagate(bad, Search(SETTINGS)), lambda: backend.label(bad, soft)):
        with pytest.raises(CrwedgeError, match="not finite"):
            use()
    assert np.isfinite(backend.propagate(good, Search(SETTINGS)).soft).all()


def test_a_frame_of_another_scale_is_refused(make: Make) -> None:
    frame, backend = video(1)[0], make()
    backend.remember(backend.label(backend.encode(frame, whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    with pytest.raises(CrwedgeError, match="do not fit a context"):
        backend.propagate(backend.encode(frame, View.whole((48, 56))), Search(SETTINGS))
