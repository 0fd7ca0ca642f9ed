"""Soft labels and resizes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.core.labels import argmax_ids, resize_linear, soft_labels
from tests import reference


@pytest.mark.parametrize(("size", "grid"), [((48, 80), (6, 10)), ((45, 77), (6, 10)), ((16, 16), (2, 2))])
def test_soft_labels_are_the_resized_one_hot(size: tuple[int, int], grid: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 2, 5, 9], np.uint8), size)
    soft, known = soft_labels(mask, (2, 5), grid)
    expected = reference.resize_linear(reference.one_hot(mask, (2, 5)), grid)
    np.testing.assert_allclose(soft, expected, atol=1e-6)
    np.testing.assert_allclose(known, 1, atol=1e-6)


def test_void_is_background_and_known_says_so() -> None:
    mask = np.full((16, 16), 255, np.uint8)
    mask[:8] = 1
    soft, known = soft_labels(mask, (1,), (2, 2))
    np.testing.assert_allclose(soft[1], [[1, 1], [0, 0]])
    np.testing.assert_allclose(known, [[1, 1], [0, 0]])


@pytest.mark.parametrize("size", [(13, 9), (4, 5), (40, 50)])
def test_resize_equals_the_definition(size: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((2, 5, 7))
    np.testing.assert_allclose(
        resize_linear(maps.astype(np.float32), size), reference.resize_linear(maps, size), atol=1e-6
    )
    np.testing.assert_allclose(reference.resize_linear_fast(maps, size), reference.resize_linear(maps, size))


def test_ties_go_to_the_background() -> None:
    assert argmax_ids(np.zeros((3, 2, 2), np.float32), (4, 7)).tolist() == [[0, 0], [0, 0]]
