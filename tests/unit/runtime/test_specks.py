"""Isolated specks: removed from the output, never from the context."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import crwedge as cw
from crwedge.core.scene import Scene
from crwedge.core.settings import PRESETS
from crwedge.runtime.output import finished
from crwedge.runtime.propagation.specks import FAR, SMALL, remove_specks
from tests.unit.runtime.output_setting import without_and_with


def scene() -> np.ndarray:
    ids = np.zeros((60, 90), np.uint8)
    ids[10:40, 10:40] = 1
    ids[10:40, 60:80] = 2
    return ids


def test_a_speck_far_away_goes_and_a_near_one_stays() -> None:
    ids = scene()
    ids[50:53, 50:53] = 1
    out = remove_specks(ids)
    assert out is not ids
    np.testing.assert_array_equal(out, scene())
    near = scene()
    near[41:43, 20:22] = 1
    assert remove_specks(near) is near


def test_a_speck_in_another_object_becomes_that_object() -> None:
    ids = scene()
    ids[20:23, 70:72] = 1
    np.testing.assert_array_equal(remove_specks(ids), scene())


def test_a_second_large_part_stays_and_so_does_what_is_near_it() -> None:
    ids = scene()
    ids[45:58, 45:85] = 1
    ids[42:44, 84:86] = 1
    assert remove_specks(ids) is ids


def test_a_speck_in_the_corner_of_the_frame() -> None:
    ids = scene()
    ids[59, 89] = ids[0, 89] = ids[59, 0] = 2
    np.testing.assert_array_equal(remove_specks(ids), scene())


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.sampled_from((0, 0, 1, 2, 255)))
)
def test_the_slow_way_says_the_same(ids: np.ndarray) -> None:
    before = ids.copy()
    out = remove_specks(ids)
    np.testing.assert_array_equal(ids, before)
    # No object appears anew or loses its largest part, and nothing but specks changes.
    expected = np.zeros(ids.shape, bool)
    for i in (1, 2):
        parts = components(ids == i)
        if not parts:
            continue
        most = max(map(len, parts))
        large = [part for part in parts if len(part) >= SMALL * most]
        for part in parts:
            if part not in large and all(gap(part, other) > FAR * most**0.5 for other in large):
                expected[tuple(np.array(part).T)] = True
    changed = out != ids
    assert not (changed & ~expected).any()
    # Two specks side by side may take each other's id.
    assert (changed == expected).all() or expected.sum() > 1


def components(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        part, waiting = [], [left.pop()]
        while waiting:
            y, x = waiting.pop()
            part.append((y, x))
            beside = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= beside
            waiting += sorted(beside)
        found.append(part)
    return found


def gap(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> int:
    (ay, ax), (by, bx) = np.array(a).T, np.array(b).T
    rows = max(by.min() - ay.max(), ay.min() - by.max()) - 1
    columns = max(bx.min() - ax.max(), ax.min() - bx.max()) - 1
    return max(int(rows), int(columns), 0)


def test_presets_of_papers_keep_every_pixel() -> None:
    assert {name: settings.drop_specks for name, settings in PRESETS.items()} == {
        "crw": False,
        "dino": False,
        "edge": True,
        "dinov3": False,
    }


def test_painted_frames_stay_as_they_are() -> None:
    ids = scene()
    ids[50:53, 50:53] = 1
    labels = cw.LabelMap(ids, 0, (1, 2), np.zeros((3, 8, 12), np.float32))
    edge = PRESETS["edge"]
    assert finished(labels, edge, {}, painted=True).ids is ids
    assert finished(labels, PRESETS["crw"], {}, painted=False).ids is ids
    np.testing.assert_array_equal(finished(labels, edge, {}, painted=False).ids, scene())
    assert finished(labels, edge, {2: "ball", 7: "dog"}, painted=True).names == {2: "ball"}


def test_nothing_is_fed_back(small_scene: Scene) -> None:
    """With and without, everything that is predicted is the same: only the ids that are given out differ."""
    for plain, clean in without_and_with("drop_specks", small_scene):
        np.testing.assert_array_equal(remove_specks(plain.ids) if plain.index else plain.ids, clean.ids)
