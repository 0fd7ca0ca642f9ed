"""Upsampling along the edges of the frame: held against the formula, pixel by pixel, and kept out of the context."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.scene import Scene
from crwedge.core.settings import PRESETS
from crwedge.runtime.propagation.guided import FARTHEST, REACH, SPREAD, guided_ids
from crwedge.runtime.propagation.propagator import labels_to_ids
from crwedge.runtime.propagation.view import View
from tests.unit.runtime.output_setting import without_and_with


def reference(
    ids: NDArray[np.uint8], soft: NDArray[np.float32], objects: tuple[int, ...], view: View, frame: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The ids, and where two channels are so close that rounding decides."""
    (h, w), (height, width), full = soft.shape[1:], ids.shape, (view.size[0] // 8, view.size[1] // 8)
    table, out, close = (0, *objects), ids.copy(), np.zeros(ids.shape, np.bool_)
    inside: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i in range(height):
        for j in range(width):
            label = math.floor((i + 0.5) * full[0] / height), math.floor((j + 0.5) * full[1] / width)
            inside.setdefault((label[0] - view.origin[0], label[1] - view.origin[1]), []).append((i, j))
    winner = soft.argmax(axis=0)
    for (y, x), pixels in inside.items():
        near = [(a, b) for a in range(y - 1, y + 2) for b in range(x - 1, x + 2) if 0 <= a < h and 0 <= b < w]
        if not (0 <= y < h and 0 <= x < w) or len({int(winner[label]) for label in near}) == 1:
            continue
        for i, j in pixels:
            sums = np.zeros(len(table))
            for a, b in near:
                if (a, b) not in inside:
                    continue
                colour = np.mean([frame[pixel] for pixel in inside[a, b]], axis=0)
                far = min(np.floor(((frame[i, j] - colour) ** 2).sum()), FARTHEST - 1)
                dy = (i + 0.5) * full[0] / height - 0.5 - view.origin[0] - a
                dx = (j + 0.5) * full[1] / width - 0.5 - view.origin[1] - b
                weight = math.exp(-far / (2 * SPREAD**2) - (dy**2 + dx**2) / (2 * REACH**2))
                sums += weight * soft[:, a, b]
            out[i, j] = table[int(sums.argmax())]
            # A squared difference of colours that is nearly whole may be rounded to either side: 0.08 % of a weight.
            close[i, j] = np.diff(np.sort(sums))[-1] < 2e-3 * sums.sum()
    return out, close


@pytest.mark.parametrize(
    ("size", "view"),
    [
        ((48, 72), View((96, 144), (0, 0), (12, 18))),
        ((50, 71), View((104, 136), (2, 3), (9, 11))),
        ((20, 30), View((240, 320), (4, 5), (22, 31))),
    ],
    ids=["whole", "part", "labels smaller than pixels"],
)
def test_it_is_the_formula(size: tuple[int, int], view: View) -> None:
    rng = np.random.default_rng(3)
    frame = rng.integers(0, 256, (*size, 3)).astype(np.uint8) // 4 + np.where(np.arange(size[1]) > 30, 120, 0)[:, None]
    frame = frame.astype(np.uint8)
    soft = rng.random((3, *view.grid)).astype(np.float32) ** 4
    soft[2, :, : view.grid[1] // 2] = 0
    soft[:, :3, :3] = np.array([1, 0, 0], np.float32)[:, None, None]
    soft /= soft.sum(axis=0)
    ids = labels_to_ids(soft, (4, 9), size, "none", view)
    before = ids.copy()
    found = guided_ids(ids, soft, (4, 9), view, frame)
    wanted, close = reference(ids, soft, (4, 9), view, frame)
    np.testing.assert_array_equal(ids, before)
    assert close.mean() < 0.1
    np.testing.assert_array_equal(found[~close], wanted[~close])
    assert (found != ids).mean() > 0.05


def test_the_border_moves_to_the_edge_of_the_frame() -> None:
    """The labels end half a label beside the edge."""
    view, frame = View((64, 64), (0, 0), (8, 8)), np.full((32, 32, 3), 40, np.uint8)
    frame[:, 17:] = 200
    soft = np.zeros((2, 8, 8), np.float32)
    soft[1, :, 4:] = 1
    soft[0] = 1 - soft[1]
    linear = labels_to_ids(soft, (1,), (32, 32), "none", view)
    assert (linear[:, 16] == 1).all()
    found = guided_ids(linear, soft, (1,), view, frame)
    np.testing.assert_array_equal(found, np.arange(32)[None].repeat(32, axis=0) >= 17)


def test_presets_of_papers_are_upsampled_linearly() -> None:
    assert [name for name, settings in PRESETS.items() if settings.guided] == ["edge"]


def test_nothing_is_fed_back(small_scene: Scene) -> None:
    """With and without, everything that is predicted is the same: only the ids that are given out differ."""
    pairs = without_and_with("guided", small_scene)
    np.testing.assert_array_equal(pairs[0][0].ids, pairs[0][1].ids)
    assert any((plain.ids != along.ids).any() for plain, along in pairs)
