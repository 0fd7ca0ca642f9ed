from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crwedge.train.augment import colour_views, jittered_patches
from crwedge.train.views import HIDDEN, Geometry, cell_targets, corresponding, cut_views, dense_points, draw_maps
from crwedge.train.warps import draw_warps
from tests.unit.train.conftest import small

IDENTITY = torch.tensor([[[[1.0, 0, 0], [0, 1, 0]]]], dtype=torch.float64)


def shifted(x: float, y: float = 0) -> torch.Tensor:
    """A map (1, 1, 2, 3) whose view lies (x, y) further into the frame."""
    return torch.tensor([[[[1.0, 0, x], [0, 1, y]]]], dtype=torch.float64)


def gradient(height: int, width: int) -> torch.Tensor:
    """A frame whose red is x and green is y."""
    y, x = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack([x, y, x * 0], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_a_view_shows_what_its_map_says(warp: float) -> None:
    config = small(size=24, rotation=20.0, ratio=1.3, scale=(0.4, 0.9)).views
    rng = np.random.default_rng(0)
    frame = gradient(60, 90)
    maps = draw_maps(rng, (60, 90), 3, config)
    warps = draw_warps(rng, 4, 24, warp) if warp else None
    views = cut_views(frame.expand(4, -1, -1, -1), maps, 24, warps)
    points = dense_points(maps, warps, 24)
    assert maps.shape == (4, 2, 3)
    for view, map_, place in zip(views, maps, points, strict=True):
        for x, y in [(0, 0), (23, 0), (5, 17), (12, 12)]:
            point = place[y, x]
            if not warp:
                assert point == pytest.approx(map_ @ np.array([x, y, 1]), abs=1e-4)
            if 0 <= point[0] <= 89 and 0 <= point[1] <= 59:
                assert view[0, y, x] == pytest.approx(point[0], abs=1.01)
                assert view[1, y, x] == pytest.approx(point[1], abs=1.01)


def test_shared_views_are_one_cut() -> None:
    maps = draw_maps(np.random.default_rng(0), (60, 90), 3, small(mode="shared").views)
    assert maps.shape == (3, 2, 3)
    assert (maps == maps[0]).all()


def test_zoom_bounds_the_areas_of_later_cuts() -> None:
    config = small(scale=(0.1, 1.0), rotation=0.0, ratio=1.0).views
    for seed in range(50):
        first, _, last = np.abs(
            np.linalg.det(draw_maps(np.random.default_rng(seed), (90, 90), 2, config, 2.0)[..., :2])
        )
        assert 0.5 - 1e-9 <= last / first <= 2 + 1e-9


def test_targets_find_the_same_point() -> None:
    """Cells of two views that show one frame point are each other's targets, mirrored or not."""
    target, seen = cell_targets(Geometry(IDENTITY), Geometry(IDENTITY), 4, 32)
    assert seen.all()
    assert torch.equal(target[0], torch.eye(16))
    # A view shifted by one cell to the right: cell (i, j) of the first lies at (i, j - 1) of the second.
    target, seen = cell_targets(Geometry(IDENTITY), Geometry(shifted(8)), 4, 32)
    assert seen.view(4, 4)[:, 1:].all()
    assert not seen.view(4, 4)[:, 0].any()
    assert float(target[0, 6, 5]) == 1
    # Half a cell: two cells share the target.
    target, _ = cell_targets(Geometry(IDENTITY), Geometry(shifted(4)), 4, 32)
    assert target[0, 6, 5:7].tolist() == [0.5, 0.5]


def test_targets_are_distributions_and_agree_with_maps() -> None:
    config = small(size=64, rotation=15.0, ratio=1.2).views
    for seed in range(5):
        maps = torch.from_numpy(draw_maps(np.random.default_rng(seed), (80, 100), 1, config))
        target, seen = cell_targets(Geometry(maps[:1, None]), Geometry(maps[1:, None]), 8, 64)
        torch.testing.assert_close(target.sum(-1), torch.ones(1, 64))
        places = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1).view(64, 2)
        expected_cells = target[0] @ places  # row, column
        for cell in torch.nonzero(seen[0]).flatten().tolist():
            pixel = torch.tensor([8.0 * (cell % 8), 8.0 * (cell // 8), 1.0], dtype=torch.float64)
            point = maps[0] @ pixel
            x, y = (8 * expected_cells[cell].flip(0)).double()
            torch.testing.assert_close(maps[1] @ torch.stack([x, y, torch.ones_like(x)]), point, atol=1e-3, rtol=1e-3)


def test_a_crop_moves_targets() -> None:
    target, seen = cell_targets(Geometry(IDENTITY), Geometry(IDENTITY), 4, 64, crop=2)
    assert seen.all()
    assert torch.equal(target[0], torch.eye(16))
    target, _ = cell_targets(Geometry(IDENTITY), Geometry(shifted(8)), 4, 64, crop=2)
    assert float(target[0, 6, 5]) == 1


def test_warped_views_correspond_as_a_search_over_all_pixels_says() -> None:
    """The pixel of the other view whose frame point is nearest, found by looking at every one of them."""
    size = 48
    config = small(size=size, rotation=20.0, ratio=1.3, scale=(0.4, 0.9)).views
    for seed in range(4):
        rng = np.random.default_rng(seed)
        maps, warps = draw_maps(rng, (90, 120), 1, config), draw_warps(rng, 2, size, 0.8)
        points = dense_points(maps, warps, size)
        here, there = (
            Geometry(torch.from_numpy(maps[view])[None, None], torch.from_numpy(warps[view])[None, None])
            for view in (0, 1)
        )
        y, x = np.mgrid[0:size:5, 0:size:5]
        pixels = np.stack([x.ravel(), y.ravel()])
        place, known = corresponding(here, there, torch.from_numpy(pixels).double(), size)
        checked = 0
        for number, (px, py) in enumerate(pixels.T):
            q = place[0, :, number].numpy()
            if not known[0, number] or (q < 0).any() or (q > size - 1).any():
                continue
            distance = np.hypot(*np.moveaxis(points[1] - points[0, py, px], -1, 0))
            row, column = np.unravel_index(distance.argmin(), distance.shape)
            assert math.hypot(q[0] - column, q[1] - row) < 1.0
            checked += 1
        assert checked > 10


def test_covered_cells_do_not_count() -> None:
    nothing = torch.zeros(1, 32, 32, dtype=torch.uint8)
    column = nothing.clone()
    column[:, :, 8:16] = HIDDEN  # pixels 8 to 15: the cells of column 1
    there = Geometry(shifted(8), None, nothing)
    seen = cell_targets(Geometry(IDENTITY, None, column), there, 4, 32)[1].view(4, 4)
    assert seen.tolist() == [[False, False, True, True]] * 4
    # Column 1 of the other view shows column 2 of this one.
    seen = cell_targets(Geometry(IDENTITY, None, nothing), Geometry(shifted(8), None, column), 4, 32)[1].view(4, 4)
    assert seen.tolist() == [[False, True, False, True]] * 4
    assert not cell_targets(Geometry(IDENTITY, None, column), Geometry(IDENTITY, None, column), 4, 32)[1][0, 1::4].any()


def test_hidden_cells_do_not_count_and_objects_move_by_their_own_maps() -> None:
    still, right = IDENTITY, shifted(-8)
    maps = torch.cat([still, still], dim=1), torch.cat([still, right], dim=1)
    owner = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    owner[0, :, :, 4:12] = 1  # the object: the cells of column 1, then of column 2
    owner[1, :, :, 12:20] = 1
    target, seen = cell_targets(Geometry(maps[0], None, owner[0]), Geometry(maps[1], None, owner[1]), 4, 32)
    assert seen.view(4, 4).tolist() == [[True, True, False, True]] * 4  # what lay in column 2 is covered now
    assert target[0].argmax(-1).view(4, 4)[:, [0, 1, 3]].tolist() == [[4 * r, 4 * r + 2, 4 * r + 3] for r in range(4)]


def test_patches_equal_unfold_and_kornia() -> None:
    from kornia.augmentation import RandomResizedCrop

    config = small(nodes="patches", mode="shared", size=96, patch_size=32, patch_stride=16).walk
    x = torch.rand(2, 3, 96, 96)
    ours = jittered_patches(x, config, torch.tensor([5]))
    patches = torch.nn.functional.unfold(x, (32, 32), stride=16)
    count = patches.shape[-1]
    patches = patches.view(2, 3, 32, 32, count).permute(0, 4, 1, 2, 3).reshape(-1, 3, 32, 32)
    torch.manual_seed(5)
    jitter = RandomResizedCrop((32, 32), (0.7, 0.9), (0.7, 1.3), p=1.0, cropping_mode="resample")
    torch.testing.assert_close(ours, jitter(patches), atol=1e-4, rtol=1e-4)


def test_patches_of_a_clip_do_not_depend_on_the_others() -> None:
    config = small(nodes="patches", mode="shared", size=64, patch_size=32, patch_stride=32).walk
    x = torch.rand(4, 3, 64, 64)
    whole = jittered_patches(x, config, torch.tensor([3, 4]))
    parts = [jittered_patches(x[:2], config, torch.tensor([3])), jittered_patches(x[2:], config, torch.tensor([4]))]
    assert torch.equal(whole, torch.cat(parts))


def test_colours() -> None:
    views = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    colours = torch.tensor([[1.0, 1, 1, 1, 1, 1, 0]]).repeat(4, 1)
    torch.testing.assert_close(colour_views(views, colours), views.float() / 255)
    colours[1, 0], colours[2, 2], colours[3, 6] = 0.5, 0, 1.5
    out = colour_views(views, colours)
    torch.testing.assert_close(out[1], views[1].float() / 510)
    torch.testing.assert_close(out[2], out[2, :1].expand(3, -1, -1))
    assert float(out[3].std()) < 0.7 * float(out[0].std())
