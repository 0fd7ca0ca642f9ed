from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.scene import render_scene
from crwedge.cycle.regions import pseudo_regions
from crwedge.cycle.score import CycleScore, CycleSettings, compared, cycle_score, rendered_clips
from crwedge.cycle.synthetic import draw_occluder, draw_warp, warped


class PlaceEngine:
    """Knows every point of `gradient_frame` by its colours: what a perfect encoder would be."""

    name = "colours"

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        h, w = grid_size(*frame.shape[:2])
        x, y = (frame[4::8, 4::8, k].astype(np.float32) / 255 for k in (0, 1))
        turns = np.array([1, 2, 5, 11], np.float32)[:, None, None] * np.pi
        waves = [wave(turns * value) for value in (x, y) for wave in (np.sin, np.cos)]
        features = np.concatenate(waves)[:, :h, :w]
        return np.ascontiguousarray(features / np.linalg.norm(features, axis=0))

    def close(self) -> None:
        pass


class NoiseEngine(PlaceEngine):
    """Says the same of every cell of every frame, but for noise."""

    name = "noise"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = self._rng.normal(size=(16, *grid_size(*frame.shape[:2]))).astype(np.float32)
        return np.asarray(features / np.linalg.norm(features, axis=0), np.float32)


def gradient_frame(height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """Red is x, green is y, blue is noise."""
    y, x = np.mgrid[:height, :width]
    blue = np.random.default_rng(0).integers(0, 255, (height, width))
    return np.stack([x * 255 / width, y * 255 / height, blue], -1).astype(np.uint8)


def test_an_encoder_that_knows_every_point_scores_high_and_noise_low() -> None:
    frame = gradient_frame()
    settings = CycleSettings(occluders=0)
    clips = [[frame] * settings.frames] * 3
    good = cycle_score(PlaceEngine(), clips, settings, 1)
    bad = cycle_score(NoiseEngine(), clips, settings, 1)
    assert good.regions == bad.regions >= 3
    assert good.mean > 0.75
    assert bad.mean < 0.35


def test_a_score_follows_from_the_seed() -> None:
    clips = rendered_clips(CycleSettings(frames=3, short_side=120), 3)
    scores = [cycle_score(PlaceEngine(), clips, CycleSettings(frames=3, short_side=120, seed=s), 1) for s in (1, 1, 2)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_differences_are_paired() -> None:
    first, second = CycleScore((0.9, 0.5, 0.7), 9), CycleScore((0.8, 0.4, 0.6), 9)
    difference = compared(first, second)
    assert difference.mean == pytest.approx(0.1)
    assert difference.error == pytest.approx(0, abs=1e-9)
    assert difference.sentence("a", "b").startswith("a is better than b")
    assert "do not differ significantly" in compared(first, CycleScore((0.95, 0.3, 0.75), 9)).sentence("a", "b")


def test_regions_are_of_the_size_of_objects() -> None:
    frame = render_scene(1, 240, 426).frames[0]
    mask = pseudo_regions(frame, np.random.default_rng(0), 6)
    assert mask.shape == (240, 426)
    shares = np.bincount(mask.ravel(), minlength=2)[1:] / mask.size
    assert 3 <= len(shares) <= 6
    assert shares.min() >= 0.009
    assert shares.max() <= 0.15


def test_a_warp_grows_from_nothing_and_moves_frames_and_masks_alike() -> None:
    frame = gradient_frame(120, 160)
    path = draw_warp(np.random.default_rng(1), (120, 160), 1.0)
    assert np.array_equal(warped(frame, path, 0.0), frame)
    y, x = np.mgrid[:120, :160]
    assert path.points(0.0) == pytest.approx(np.stack([x, y]))
    mask = np.zeros((120, 160), np.uint8)
    mask[40:80, 50:110] = 3
    image, moved = warped(frame, path, 1.0), path.mask(mask, 1.0)
    inside = path.inside(1.0)
    # Red and green say where a pixel comes from, and so whether it belongs to the mask.
    column, row = (image[..., k].astype(float) * side / 255 for k, side in ((0, 160), (1, 120)))
    expected = (column >= 50) & (column < 109) & (row >= 40) & (row < 79)
    assert (expected == (moved == 3))[inside].mean() > 0.97
    assert np.abs(path.points(1.0) - path.points(0.0)).max() > 0.1 * 120


def test_occluders_are_gone_at_both_ends() -> None:
    frame, other = np.zeros((120, 200, 3), np.uint8), np.full((120, 200, 3), 255, np.uint8)
    for seed in range(20):
        occluder = draw_occluder(np.random.default_rng(seed), (120, 200))
        assert not occluder.over(frame, other, 0.0).any()
        assert not occluder.over(frame, other, 1.0).any()
        assert occluder.over(frame, other, 0.5).any()
