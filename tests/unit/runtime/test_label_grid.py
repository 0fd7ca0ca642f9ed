"""Labels that are finer than features: packing, propagation, changes of objects and of scale, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import crwedge as cw
from crwedge.core.labels import region_iou
from crwedge.core.scene import render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.label_grid import cell_means, label_rows, packed, packed_change, row_means, unpacked
from crwedge.runtime.propagation.propagate import propagate_soft
from crwedge.runtime.propagation.rescale import resample_labels
from crwedge.runtime.propagation.view import View

RNG = np.random.default_rng(5)


def some_labels(count: int, height: int, width: int) -> NDArray[np.float32]:
    return RNG.dirichlet(np.ones(count), (height, width)).transpose(2, 0, 1).astype(np.float32)


def some_features(frames: int, height: int, width: int) -> list[NDArray[np.float32]]:
    values = RNG.standard_normal((frames, 16, height, width))
    return list((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("s", [1, 2, 3])
def test_packing_is_undone_and_means_are_means(s: int) -> None:
    fine = some_labels(3, 4 * s, 5 * s)
    channels = packed(fine, s)
    assert channels.shape == (3 * s * s, 4, 5)
    for label in range(3):
        for y in range(4 * s):
            for x in range(5 * s):
                part = (y % s) * s + x % s
                assert channels[label * s * s + part, y // s, x // s] == fine[label, y, x]
    np.testing.assert_array_equal(unpacked(channels, s), fine)
    means = np.stack(
        [[[one[y * s : y * s + s, x * s : x * s + s].mean() for x in range(5)] for y in range(4)] for one in fine]
    )
    np.testing.assert_allclose(cell_means(fine, s), means, atol=1e-6)
    np.testing.assert_allclose(row_means(label_rows(fine, s), s), means.reshape(3, -1).T, atol=1e-6)


def test_each_part_propagates_as_if_it_were_alone() -> None:
    features, first = some_features(4, 5, 6), some_labels(3, 10, 12)
    settings = PropagationSettings(context_length=2, label_scale=2, radius=3)
    found = list(propagate_soft(features, first, settings, workers=1))
    plain = settings.with_changes(label_scale=1)
    for dy in range(2):
        for dx in range(2):
            part = np.ascontiguousarray(first[:, dy::2, dx::2])
            for fine, alone in zip(found, propagate_soft(features, part, plain, workers=1), strict=True):
                np.testing.assert_allclose(fine[:, dy::2, dx::2], alone, atol=1e-6)


def test_a_change_of_objects_changes_all_parts() -> None:
    fine = some_labels(3, 4, 4)
    change = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    expected = np.einsum("khw,kl->lhw", fine, change)
    got = (label_rows(fine, 2) @ packed_change(change, 2)).T.reshape(-1, 2, 2)
    np.testing.assert_allclose(unpacked(got, 2), expected, atol=1e-6)


def test_a_change_of_scale_is_that_of_the_fine_labels() -> None:
    old, new = View((64, 96), (1, 2), (6, 8)), View((128, 160), (2, 4), (12, 13))
    fine = some_labels(3, 12, 16)
    got = resample_labels(label_rows(fine, 2), old, new, 2)
    rows = resample_labels(fine.reshape(3, -1).T, old.finer(2), new.finer(2))
    np.testing.assert_allclose(unpacked(got.T.reshape(-1, *new.grid), 2), rows.T.reshape(3, 24, 26), atol=1e-6)


def test_the_context_gives_the_labels_of_cells() -> None:
    context = ContextBuffer(PropagationSettings(label_scale=2))
    fine = some_labels(2, 8, 10)
    context.pin(some_features(1, 4, 5)[0], fine)
    np.testing.assert_allclose(context.labels_of(context.frames()[0]), cell_means(fine, 2).reshape(2, -1).T, atol=1e-6)


def test_borders_inside_cells_are_kept() -> None:
    scene = render_scene(1, 128, 192)
    frame, mask = scene.frames[0], scene.masks[0]
    scores = []
    for scale in (1, 2, 4):
        settings = cw.preset("crw").with_changes(context_length=2, labels="area", label_scale=scale, topk=3)
        with cw.Tracker.open("shipped", "cpu", settings, cw.TrackerOptions(size=(64, 96)), workers=1) as tracker:
            found = [tracker.step(frame, mask if n == 0 else None) for n in range(4)][-1]
        assert found.soft.shape[1:] == (8, 12)
        scores.append(region_iou(found.ids, mask, found.object_ids).mean())
    assert scores == sorted(scores)
    assert scores[1] > scores[0] + 0.02
