"""The region: its geometry, and how a tracker behaves with it when objects do what breaks a region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import crwedge as cw
from crwedge.core.images import grid_size
from crwedge.core.labels import LabelMap, area_labels
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.ops.snapshot import read_snapshot, write_snapshot
from crwedge.runtime.propagation.rescale import resample_features, resample_labels, rescaled, trimmed
from crwedge.runtime.propagation.view import View
from crwedge.runtime.region import Region, around_all, object_boxes
from tests.unit.runtime.moving_scene import MovingObject, Place, render

EDGE = cw.preset("edge")
SIZES = st.tuples(st.integers(64, 1200), st.integers(64, 2000))
BOXES = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda v: np.array([min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])])
)


@settings(max_examples=100, deadline=None)
@given(SIZES, st.integers(64, 5000), st.lists(BOXES, min_size=1, max_size=8))
def test_a_view_fits_the_budget_and_holds_the_objects(
    size: tuple[int, int], cells: int, boxes: list[NDArray[np.float64]]
) -> None:
    region = Region(cells, 6, size)
    for box in boxes:
        region.jump(box)
        view = region.view()
        assert view.cells <= cells
        assert all(scaled <= own for scaled, own in zip(view.size, size, strict=True))
        full = np.array(grid_size(*view.size) * 2)
        low, high = np.array(view.origin), np.array(view.origin) + view.grid
        assert (low <= np.floor(box * full + 1e-6)[:2]).all()
        assert (high >= np.minimum(np.ceil(box * full - 1e-6), full)[2:]).all()


@pytest.mark.parametrize("share", [1, 0.33])
def test_the_scale_does_not_swing(share: float) -> None:
    region = Region(1600, 6, (480, 854))
    region.set_share(share)
    scales = []
    for t in range(60):
        # An object whose size trembles by five percent around the largest that fits at full scale.
        side = 0.46 * (1 + 0.05 * (-1) ** t)
        region.follow(np.array([0.5 - side / 2, 0.3, 0.5 + side / 2, 0.3 + side]))
        scales.append(region.view().size)
    assert len(set(scales[2:])) == 1


def test_a_share_of_the_budget() -> None:
    region, box = Region(1600, 4, (480, 854)), np.array([0.3, 0.3, 0.7, 0.6])
    region.jump(box)
    full = region.view()
    region.set_share(0.25)
    assert (region.cells, region.margin) == (400, 2)
    less = region.view()
    assert less.cells <= 400
    assert less.size[0] == pytest.approx(full.size[0] / 2, rel=0.2)
    region.set_share(1)
    assert region.view() == full


def test_specks_do_not_widen_the_box() -> None:
    view = View.whole((240, 320))
    soft = np.zeros((3, *view.grid), np.float32)
    soft[0] = 0.5
    soft[1, 10:20, 12:25] = 1
    soft[1, 28, 38] = 1
    first, second = object_boxes(view, soft.argmax(axis=0), 3)
    assert second is None
    np.testing.assert_allclose(first, [10 / 30, 12 / 40, 20 / 30, 25 / 40])  # type: ignore[arg-type]
    assert around_all([None, second]) is None


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, st.randoms(use_true_random=False))
def test_a_rescaled_view_covers_the_same_part(size: tuple[int, int], other: tuple[int, int], draw: object) -> None:
    rng = np.random.default_rng(draw.randint(0, 10**6))  # type: ignore[attr-defined]
    full = grid_size(*size)
    origin = tuple(int(rng.integers(0, n)) for n in full)
    grid = tuple(int(rng.integers(1, n - o + 1)) for n, o in zip(full, origin, strict=True))
    view = View(size, origin, grid)  # type: ignore[arg-type]
    new = rescaled(view, other)
    for axis in (0, 1):
        before, after = full[axis], grid_size(*other)[axis]
        assert new.origin[axis] / after <= view.origin[axis] / before + 1e-9
        assert (new.origin[axis] + new.grid[axis]) / after >= (view.origin[axis] + view.grid[axis]) / before - 1e-9
    y, x = (int(rng.integers(0, n)) for n in grid_size(*other))
    near = View(other, (y, x), (1, 1))
    small = trimmed(new, 12, near)
    assert small.cells <= 12
    # What is near is kept: the nearest cell of the whole view is in the part.
    for axis, cell in enumerate((y, x)):
        nearest = min(max(cell, new.origin[axis]), new.origin[axis] + new.grid[axis] - 1)
        assert small.origin[axis] <= nearest < small.origin[axis] + small.grid[axis]
    labels = rng.dirichlet(np.ones(3), size=view.cells).astype(np.float32)
    np.testing.assert_allclose(resample_labels(labels, view, new).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(resample_labels(labels, view, view), labels, atol=1e-6)
    features = rng.normal(size=(view.cells, 5)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(resample_features(features, view, new), axis=1), 1, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 5), st.tuples(st.integers(2, 12), st.integers(2, 12)))
def test_labels_by_area_are_shares_and_keep_every_object(seed: int, objects: int, grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((61, 83), np.uint8)
    for i in range(1, objects + 1):
        y, x = rng.integers(0, 61), rng.integers(0, 83)
        mask[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = i
    mask[:3] = 255
    ids = tuple(int(i) for i in np.unique(mask) if 0 < i < 255)
    soft, known = area_labels(mask, ids, grid)
    rows, columns = np.arange(61) * grid[0] // 61, np.arange(83) * grid[1] // 83
    np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-5)
    forced = np.zeros(grid, bool)
    for channel in range(1, 1 + len(ids)):
        # Objects that lie in the same few cells cannot all have one.
        mine = {(int(rows[y]), int(columns[x])) for y, x in np.argwhere(mask == ids[channel - 1])}
        assert (soft.argmax(axis=0) == channel).any() or len(mine) < len(ids)
        forced |= soft[channel] == 1
    for y, x in np.ndindex(grid):
        cell = mask[np.ix_(rows == y, columns == x)]
        assert known[y, x] == pytest.approx((cell != 255).mean(), abs=1e-5)
        if not forced[y, x]:
            shares = [(cell == i).mean() for i in ids]
            np.testing.assert_allclose(soft[1:, y, x], shares, atol=1e-5)


def play(
    objects: list[MovingObject], frames: int, cuts: tuple[int, ...] = (), see: Callable[[LabelMap], None] | None = None
) -> NDArray[np.float64]:
    """IoU of each object in each frame (T, objects); 1 where the object is rightly nowhere."""
    pictures, masks = render(objects, frames, cuts=cuts)
    found = []
    with cw.Tracker.open(shipped_bundle(), "cpu", EDGE, cw.TrackerOptions(confidence=True), workers=2) as tracker:
        for t, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            labels = tracker.step(picture, mask if t == 0 else None)
            assert labels.soft[0].size <= 1600
            if see is not None:
                see(labels)
            row = []
            for i in range(1, 1 + len(objects)):
                have, true = labels.ids == i, mask == i
                row.append((have & true).sum() / max(1, (have | true).sum()) if (have | true).any() else 1.0)
            found.append(row)
    return np.array(found)


def one(path: Callable[[int], Place | None]) -> list[MovingObject]:
    return [MovingObject(path, 1)]


@pytest.mark.slow
def test_an_object_that_comes_back_elsewhere_is_found() -> None:
    states, strays = [], []

    def see(labels: LabelMap) -> None:
        states.append(labels.states[1])
        # As a share of the object's area.
        strays.append((labels.ids == 1).sum() / (np.pi * 60 * 78))

    path = one(lambda t: (240, 200 - 20 * t, 60) if t < 14 else None if t < 44 else (140, 480, 60))
    overlap = play(path, 56, see=see)[:, 0]
    assert overlap[:10].min() > 0.7
    # Nothing is invented where it is not.
    assert max(strays[18:44]) < 0.1
    assert "lost" in states[20:44]
    assert overlap[54] > 0.7
    assert overlap[55] > 0.7


@pytest.mark.slow
def test_a_cut() -> None:
    overlap = play(one(lambda t: (240, 200, 60) if t < 10 else (300, 420, 60)), 22, cuts=(10,))[:, 0]
    assert overlap[20:].min() > 0.7


@pytest.mark.slow
def test_a_jump_of_150_pixels() -> None:
    overlap = play(one(lambda t: (240, 200 + 150 * (t >= 10), 50)), 22)[:, 0]
    assert overlap[20:].min() > 0.7


@pytest.mark.slow
def test_an_object_that_doubles_its_size() -> None:
    assert play(one(lambda t: (240, 320, 50 * 2 ** (min(t, 20) / 20))), 31).min() > 0.7


@pytest.mark.slow
def test_two_objects_that_move_to_opposite_corners() -> None:
    objects = [
        MovingObject(lambda t: (240 - min(t, 30) * 5.5, 290 - min(t, 30) * 7, 70), 1),
        MovingObject(lambda t: (240 + min(t, 30) * 5.5, 370 + min(t, 30) * 7, 70), 2),
    ]
    overlap = play(objects, 41)
    assert overlap.min() > 0.65
    assert overlap[40].min() > 0.7


@pytest.mark.slow
def test_an_object_that_fills_the_frame() -> None:
    assert play(one(lambda t: (240, 320, 80 + min(t, 25) * 8)), 36).min() > 0.7


def test_a_snapshot_goes_on_bit_for_bit_over_a_change_of_scale(tmp_path: Path) -> None:
    pictures, masks = render(one(lambda t: (120, 160, 22 * 1.05**t)), 16, size=(240, 320))
    protocol = EDGE.with_changes(cells=300, margin=3)

    def opened() -> cw.Tracker:
        return cw.Tracker.open(shipped_bundle(), "cpu", protocol, cw.TrackerOptions(confidence=True), workers=2)

    with opened() as first, opened() as second:
        for t, picture in enumerate(pictures[:8]):
            before = first.step(picture, masks[0] if t == 0 else None)
        write_snapshot(tmp_path / "s", first.state())
        second.restore(read_snapshot(tmp_path / "s"))
        for picture in pictures[8:]:
            expected, got = first.step(picture), second.step(picture)
            np.testing.assert_array_equal(got.ids, expected.ids)
            np.testing.assert_array_equal(got.soft, expected.soft)
        assert before.soft.shape != expected.soft.shape


def test_corrections_additions_and_removals_in_a_region() -> None:
    pictures, masks = render(
        [MovingObject(lambda t: (100, 80 + 3 * t, 30), 1), MovingObject(lambda t: (150, 240 - 3 * t, 30), 2)],
        10,
        size=(240, 320),
    )
    with cw.Tracker.open(shipped_bundle(), "cpu", "edge", workers=2) as tracker:
        tracker.step(pictures[0], np.where(masks[0] == 1, 1, 0).astype(np.uint8))
        tracker.step(pictures[1])
        added = tracker.step(pictures[2], np.where(masks[2] == 2, 2, 0).astype(np.uint8))
        assert added.object_ids == (1, 2)
        for t in (3, 4):
            labels = tracker.step(pictures[t])
        for i in (1, 2):
            assert ((labels.ids == i) & (masks[4] == i)).sum() / ((labels.ids == i) | (masks[4] == i)).sum() > 0.6
        tracker.remove(1)
        labels = tracker.step(pictures[5])
        assert set(np.unique(labels.ids)) <= {0, 2}
        # An object is lost, and another goes while it is searched.
        tracker.step(pictures[6], np.where(masks[6] == 1, 1, 0).astype(np.uint8))
        blank = np.full_like(pictures[0], 128)
        for _ in range(2):
            tracker.step(blank)
        tracker.remove(2)
        for _ in range(4):
            assert tracker.step(blank).object_ids == (1,)
        tracker.reset()
        tracker.step(pictures[0], masks[0])
        assert tracker.step(pictures[1]).object_ids == (1, 2)


def test_joints_in_a_region() -> None:
    pictures, _ = render([MovingObject(lambda t: (120, 100 + 3 * t, 40), 1)], 5, size=(240, 320))
    names = ("middle", "hidden")
    joints = cw.FrameJoints(names, np.array([[100.0, 120.0], [np.nan, np.nan]]))
    with cw.Tracker.open(shipped_bundle(), "cpu", EDGE.with_changes(cells=400), workers=2) as tracker:
        for t, picture in enumerate(pictures):
            found = tracker.step(picture, joints if t == 0 else None).joints
    assert found is not None
    assert np.abs(found.xy[0] - (112, 120)).max() < 16


def test_a_bundle_of_one_size_refuses_a_region(tmp_path: Path) -> None:
    from dataclasses import replace

    from crwedge.core.bundle import Bundle
    from crwedge.core.errors import SettingError

    bundle = Bundle.open(shipped_bundle())
    fixed = replace(bundle, manifest=replace(bundle.manifest, size=(240, 320)))
    with pytest.raises(SettingError, match="--preset crw"):
        cw.Tracker.open(fixed, "cpu", "edge")
