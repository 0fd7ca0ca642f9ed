from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crwedge.train.objects import (
    Layer,
    Outline,
    draw_boxes,
    draw_layer,
    draw_outline,
    motion_kernel,
    overlay,
    paste_boxes,
)
from crwedge.train.views import HIDDEN, Geometry, corresponding
from tests.unit.train.conftest import small


def test_an_outline_without_waves_is_a_circle() -> None:
    y, x = np.mgrid[:20, :30]
    inside = Outline((12.0, 8.0), 5.0, np.zeros((2, 3))).contains(np.stack([x, y], -1).astype(np.float32))
    assert np.array_equal(inside, np.hypot(x - 12, y - 8) < 5)


def test_outlines_take_no_more_than_asked_on_average() -> None:
    config = small(size=64, object_area=0.25).views
    y, x = np.mgrid[-64:128, -64:128]
    points = np.stack([x, y], -1).astype(np.float32)
    rng = np.random.default_rng(0)
    shares = [draw_outline(rng, np.eye(2, 3), config).contains(points).sum() / 64**2 for _ in range(200)]
    assert 0.1 < np.mean(shares) < 0.25


def test_pixels_of_an_object_are_found_again_in_the_other_view() -> None:
    """The object's frame has its own pixel numbers as colours, so what a pixel shows can be read from it."""
    size = 64
    config = small(size=size, objects=1, warp=0.8, rotation=15.0, scale=(0.3, 0.6), object_area=0.6).views
    y, x = np.mgrid[:120, :160]
    frame = np.stack([x, y, x * 0 + 200], -1).astype(np.uint8)
    compared = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        layer = draw_layer(rng, frame, 1, config)
        views, owner = overlay(rng, torch.zeros(2, 3, size, size, dtype=torch.uint8), [layer], config)
        assert torch.equal(owner.bool(), layer.inside)
        assert (views[:, 2][owner > 0] == 200).all()
        assert (views[:, 2][owner == 0] == 0).all()
        maps = torch.from_numpy(layer.maps)
        warps = torch.from_numpy(layer.warps)
        still = torch.eye(2, 3, dtype=torch.float64)[None], torch.zeros(1, *warps.shape[1:], dtype=torch.float64)
        here, there = (
            Geometry(
                torch.stack([still[0][0], maps[v]])[None], torch.stack([still[1][0], warps[v]])[None], owner[v][None]
            )
            for v in (0, 1)
        )
        grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy")).flatten(1).double()
        place, visible = corresponding(here, there, grid, size)
        inside = ((place[0] >= 0) & (place[0] <= size - 1)).all(0) & visible[0] & (owner[0].flatten() == 1)
        for number in torch.nonzero(inside).flatten().tolist()[::7]:
            px, py = grid[:, number].long().tolist()
            qx, qy = place[0, :, number].round().long().tolist()
            if owner[1, qy, qx] == 1:
                difference = views[0, :2, py, px].float() - views[1, :2, qy, qx].float()
                assert float(difference.abs().max()) <= 4  # rounded to whole pixels of views that enlarge or reduce
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("seed", range(5))
def test_motion_kernels_keep_brightness(seed: int) -> None:
    kernel = motion_kernel(np.random.default_rng(seed), 192)
    assert float(kernel.sum()) == pytest.approx(1)
    assert len(kernel) % 2 == 1
    assert len(kernel) <= 2 * math.ceil(8) + 1


def test_motion_blurs_an_object_into_what_lies_behind() -> None:
    inside = torch.zeros(1, 64, 64, dtype=torch.bool)
    inside[:, 24:40, 24:40] = True
    layer = Layer(np.zeros((1, 2, 3)), None, torch.full((1, 3, 64, 64), 255, dtype=torch.uint8), inside)
    config = small(size=64, objects=1, motion_blur=1.0).views
    views, owner = overlay(np.random.default_rng(0), torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [layer], config)
    assert ((views > 0) & (views < 255)).any()
    assert float(views.float().sum()) == pytest.approx(255 * 3 * 256, rel=0.02)
    assert abs(int(owner.sum()) - 256) < 80


def test_boxes_cover_no_more_than_asked_and_are_marked() -> None:
    config = small(size=64, cutmix=0.5).views
    rng = np.random.default_rng(0)
    boxes = np.concatenate([draw_boxes(rng, 3, config) for _ in range(100)])
    assert (boxes >= 0).all()
    assert (boxes <= 64).all()
    shares = (boxes[..., 2:] - boxes[..., :2]).prod(-1) / 64**2
    assert shares.max() <= 0.25 * 1.05  # sides are whole pixels
    assert 0.1 < shares.mean() < 0.15
    views, owner = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 64, 64, dtype=torch.uint8)
    paste_boxes(rng, views, owner, np.full((80, 90, 3), 255, np.uint8), config)
    assert torch.equal(views[:, 0] == 255, owner == HIDDEN)
    assert (owner == HIDDEN).any()
