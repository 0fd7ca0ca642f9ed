"""The certainty check of targets, against slow and obvious references."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.view import View
from crwedge.runtime.target_search import (
    Known,
    as_rows,
    background,
    coherent_matches,
    know,
    label_everywhere,
    match,
    object_box,
    outside_box,
)


def random_features(seed: int, grid: tuple[int, int], channels: int = 16) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(channels, *grid)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=0))


def square(grid: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    soft = np.zeros((2, *grid), np.float32)
    soft[1, rows, columns] = 1
    soft[0] = 1 - soft[1]
    return soft


def known_square(seed: int = 0) -> Known:
    return know(random_features(seed, (12, 16)), square((12, 16), slice(3, 8), slice(4, 10)), (5,))


@pytest.mark.parametrize("seed", range(5))
def test_coherent_matches_are_those_of_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid, frame = (6, 7), (5, 9)
    cells = np.flatnonzero(rng.random(42) < 0.7)
    places = np.stack(np.divmod(cells, 7), axis=1)
    shifted = np.clip(places + rng.integers(-1, 2, places.shape) * (rng.random(places.shape) < 0.4), 0, (4, 8))
    there = shifted[:, 0] * 9 + shifted[:, 1]
    back = np.where(rng.random(cells.size) < 0.8, cells, rng.integers(0, 42, cells.size))
    expected = []
    for n, cell in enumerate(cells):
        y, x = divmod(int(cell), 7)
        support = 0
        for m, other in enumerate(cells):
            oy, ox = divmod(int(other), 7)
            returned = divmod(int(back[m]), 7)
            if m == n or max(abs(oy - y), abs(ox - x)) > 1 or max(abs(returned[0] - oy), abs(returned[1] - ox)) > 1:
                continue
            (ay, ax), (by, bx) = divmod(int(there[n]), 9), divmod(int(there[m]), 9)
            support += max(abs(by - ay - (oy - y)), abs(bx - ax - (ox - x))) <= 1
        by, bx = divmod(int(back[n]), 7)
        expected.append(max(abs(by - y), abs(bx - x)) <= 1 and support >= 3)
    found = coherent_matches(cells, there, back, grid, frame)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < cells.size


def test_an_object_is_certain_in_its_own_frame() -> None:
    known = known_square()
    one = match(known, 5, known.rows, known.grid)
    assert one.certainty >= 1
    assert one.cover == 1
    assert set(one.cells) == set(known.objects[5].cells)
    np.testing.assert_allclose(one.box, [1 / 12, 2 / 16, 10 / 12, 12 / 16])


def test_an_object_is_followed_to_where_it_moved() -> None:
    known, features = known_square(), random_features(0, (12, 16))
    moved = random_features(9, (12, 16))
    moved[:, 5:10, 8:14] = features[:, 3:8, 4:10]
    one = match(known, 5, as_rows(moved), (12, 16))
    assert one.certainty >= 1
    assert one.box[0] < 5 / 12 < 10 / 12 < one.box[2]
    assert one.box[1] < 8 / 16 < 14 / 16 <= one.box[3]


@pytest.mark.parametrize("seed", range(1, 9))
def test_an_object_is_not_certain_where_it_is_not(seed: int) -> None:
    assert match(known_square(), 5, as_rows(random_features(seed + 50, (12, 16))), (12, 16)).certainty < 1


def test_one_look_alike_cell_is_no_object() -> None:
    known, features = known_square(), random_features(0, (12, 16))
    field = np.repeat(features[:, 5:6, 6:7], 12, axis=1).repeat(16, axis=2)
    assert match(known, 5, as_rows(field), (12, 16)).certainty < 1


def test_objects_that_are_too_small_or_too_large_are_not_matched() -> None:
    features = random_features(0, (12, 16))
    assert not know(features, square((12, 16), slice(3, 5), slice(4, 7)), (5,)).objects
    assert not know(features, square((12, 16), slice(3, 8), slice(4, 10)), (5,), most=29).objects
    assert not know(features, square((12, 16), slice(0, 12), slice(0, 16)), (5,)).objects


def test_labels_are_those_of_the_reference() -> None:
    known = [known_square(0), known_square(1)]
    rows = as_rows(random_features(2, (9, 7)))
    settings = PropagationSettings(topk=4, temperature=0.1)
    soft = label_everywhere(known, rows, settings)
    keys, labels = np.concatenate([one.rows for one in known]), np.concatenate([one.labels for one in known])
    for n, row in enumerate(rows):
        similarity = keys.astype(np.float64) @ row
        best = np.argsort(-similarity)[:4]
        weights = np.exp(similarity[best] / 0.1)
        np.testing.assert_allclose(soft[:, n], weights / weights.sum() @ labels[best], atol=1e-5)


def test_the_box_grows_with_the_object() -> None:
    cells = np.array([y * 20 + x for y in range(4, 8) for x in range(4, 8)])
    there = np.array([(2 * y) * 40 + 2 * x for y in range(4, 8) for x in range(4, 8)])
    box = object_box(cells, cells[:8], there[:8], (20, 20), (40, 40))
    assert box[0] * 40 < 8
    assert box[2] * 40 > 14
    np.testing.assert_array_equal(object_box(cells, cells[:0], there[:0], (20, 20), (40, 40)), [0, 0, 1, 1])


def test_cells_outside_a_box_are_background() -> None:
    view = View((80, 80), (2, 3), (5, 4))
    outside = outside_box(np.array([0.3, 0.3, 0.6, 0.6]), view)
    np.testing.assert_array_equal(~outside, [[c and r for c in (1, 1, 1, 0)] for r in (0, 1, 1, 1, 0)])
    rows = as_rows(random_features(0, (5, 4)))
    (one,) = background(rows, outside.reshape(-1), 3)
    assert one.rows.shape == (11, 16)
    np.testing.assert_array_equal(one.labels, np.tile([1, 0, 0], (11, 1)))
    assert background(rows, np.zeros(20, np.bool_), 3) == []
