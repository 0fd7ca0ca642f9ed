"""The mask that comes back from another frame, against a slow and obvious reference."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.runtime.target_cycle import returned_mask, returned_overlap
from crwedge.runtime.target_search import Known, know

GRID = 12, 16


def known_square(seed: int) -> Known:
    features = np.random.default_rng(seed).normal(size=(16, *GRID)).astype(np.float32)
    features /= np.linalg.norm(features, axis=0)
    soft = np.zeros((2, *GRID), np.float32)
    soft[1, 3:8, 4:10] = 1
    soft[0] = 1 - soft[1]
    return know(features, soft, (5,))


@pytest.mark.parametrize("seed", range(3))
def test_the_returned_mask_is_that_of_the_reference(seed: int) -> None:
    known, rng = known_square(seed), np.random.default_rng(seed + 10)
    rows = rng.normal(size=(40, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[:15] = known.rows[known.objects[5].cells[:15]]
    inside = rng.random(40) < 0.5
    expected = []
    for cell, asked in enumerate(known.rows):
        sides = [(float(asked @ row), bool(side)) for row, side in zip(rows, inside, strict=True)]
        y, x = divmod(cell, 16)
        for other in known.objects[5].background:
            oy, ox = divmod(int(other), 16)
            if max(abs(oy - y), abs(ox - x)) > 4:
                sides.append((float(asked @ known.rows[other]), False))
        expected.append(max(sides)[1])
    np.testing.assert_array_equal(returned_mask(known, 5, rows, inside), expected)
    assert any(expected)


def test_the_same_frame_returns_the_painted_mask_and_a_part_returns_a_part() -> None:
    known = known_square(0)
    whole, half = np.zeros(192, np.bool_), np.zeros(192, np.bool_)
    whole[known.objects[5].cells] = True
    half[known.objects[5].cells[:15]] = True
    assert returned_overlap(known, 5, known.rows, whole) == 1
    assert returned_overlap(known, 5, known.rows, half) == 0.5
    assert returned_overlap(known, 5, known.rows, np.zeros(192, np.bool_)) == 0


def test_another_place_does_not_spread_the_mask_over_the_background() -> None:
    """The painted background looks like itself, and nothing in the other place looks like it."""
    known = known_square(0)
    cells, background = known.objects[5].cells, np.ones(192, np.bool_)
    background[cells] = False
    known.rows[background] = known.rows[0] + 0.3 * known.rows[background]
    known.rows[background] /= np.linalg.norm(known.rows[background], axis=1, keepdims=True)
    rows = np.concatenate([known.rows[cells], -known.rows[:1]])
    assert returned_overlap(known, 5, rows, np.arange(31) < 30) == 1
