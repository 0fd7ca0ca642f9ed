"""Masks as polygons: the same pixels come back, whatever the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crwedge.formats.polygons import TOLERANCE, fill, one_polygon, parts, rings, signed_area
from tests.unit.formats.masks import SIZES, id_maps


@settings(deadline=None)
@given(SIZES.flatmap(lambda size: id_maps(size, (1,))))
def test_polygons_fill_to_the_same_mask(ids: np.ndarray) -> None:
    mask = ids > 0
    polygons = parts(mask)
    np.testing.assert_array_equal(fill(polygons, mask.shape), mask)
    if mask.any():
        np.testing.assert_array_equal(fill([one_polygon(mask)], mask.shape), mask)
    # What YOLO stores: six digits of shares.
    scale = np.array(mask.shape[::-1])
    np.testing.assert_array_equal(fill([np.round(p / scale, 6) * scale for p in polygons], mask.shape), mask)


@settings(deadline=None)
@given(SIZES.flatmap(lambda size: id_maps(size, (1,))))
def test_outlines_enclose_the_area(ids: np.ndarray) -> None:
    """The middles of the sides cut an eighth of a pixel off each outer corner, and add one at each inner corner."""
    mask = ids > 0
    padded = np.pad(mask, 1).astype(int)
    quads = padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]
    diagonal = (padded[:-1, :-1] == padded[1:, 1:]) & (padded[1:, :-1] == padded[:-1, 1:]) & (quads == 2)
    corners = (quads == 1).sum() - (quads == 3).sum() + 2 * diagonal.sum()
    assert sum(signed_area(ring) for ring in rings(mask)) == pytest.approx(mask.sum() - corners / 8)


def test_a_disc_with_a_hole_is_one_short_polygon() -> None:
    y, x = np.mgrid[:200, :300]
    distance = np.hypot(y - 100, x - 150)
    mask = (distance < 80) & (distance > 30)
    (polygon,) = parts(mask)
    assert len(polygon) < 0.5 * sum(map(len, rings(mask)))
    np.testing.assert_array_equal(fill([polygon], mask.shape), mask)


def test_parts_that_touch_at_a_corner_are_two() -> None:
    mask = np.eye(2, dtype=bool)
    assert len(parts(mask)) == 2
    assert len(parts(~mask)) == 2


def test_a_polygon_beyond_the_frame_is_cut_off() -> None:
    square = np.array([[-5.0, -5], [3, -5], [3, 50], [-5, 50]])
    mask = fill([square], (4, 6))
    assert mask[:, :3].all()
    assert not mask[:, 3:].any()


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_single_pixel_survives(y: int, x: int) -> None:
    mask = np.zeros((6, 6), bool)
    mask[y, x] = True
    np.testing.assert_array_equal(fill(parts(mask), mask.shape), mask)


def test_the_tolerance_leaves_room_for_rounding() -> None:
    assert np.sqrt(2) / 4 - 0.01 > TOLERANCE
