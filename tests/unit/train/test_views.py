from __future__ import annotations

import numpy as np
import pytest
import torch

from crwedge.core.errors import SettingError
from crwedge.train.augment import colour_views, jittered_patches
from crwedge.train.objective import pooled
from crwedge.train.views import cell_targets, cover, cut_views, draw_boxes, draw_maps
from tests.unit.train.conftest import small


def gradient(height: int, width: int) -> torch.Tensor:
    """A frame whose red is x and green is y."""
    y, x = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack([x, y, x * 0], axis=-1).astype(np.uint8))


def test_a_view_shows_what_its_map_says() -> None:
    config = small(size=24, rotation=20.0, ratio=1.3, scale=(0.4, 0.9))
    rng = np.random.default_rng(0)
    frame = gradient(60, 90)
    maps = draw_maps(rng, (60, 90), 3, config)
    views = cut_views(frame.expand(4, -1, -1, -1), maps, 24)
    assert maps.shape == (4, 2, 3)
    for view, map_ in zip(views, maps, strict=True):
        for x, y in [(0, 0), (23, 0), (5, 17), (12, 12)]:
            point = map_ @ np.array([x, y, 1])
            if 0 <= point[0] <= 89 and 0 <= point[1] <= 59:
                assert view[0, y, x] == pytest.approx(point[0], abs=1.01)
                assert view[1, y, x] == pytest.approx(point[1], abs=1.01)


def test_shared_views_are_one_cut() -> None:
    maps = draw_maps(np.random.default_rng(0), (60, 90), 3, small(views="shared"))
    assert maps.shape == (3, 2, 3)
    assert (maps == maps[0]).all()


def test_targets_find_the_same_point() -> None:
    """Cells of two views that show one frame point are each other's targets, mirrored or not."""
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    target, seen = cell_targets(identity, identity, 4)
    assert seen.all()
    assert torch.equal(target[0], torch.eye(16))
    # A view shifted by one cell to the right: cell (i, j) of the first lies at (i, j - 1) of the second.
    shifted = torch.tensor([[[1.0, 0, 8], [0, 1, 0]]], dtype=torch.float64)
    target, seen = cell_targets(identity, shifted, 4)
    assert seen.view(4, 4)[:, 1:].all()
    assert not seen.view(4, 4)[:, 0].any()
    assert float(target[0, 6, 5]) == 1
    # Half a cell: two cells share the target.
    half = torch.tensor([[[1.0, 0, 4], [0, 1, 0]]], dtype=torch.float64)
    target, _ = cell_targets(identity, half, 4)
    assert target[0, 6, 5:7].tolist() == [0.5, 0.5]


def test_targets_are_distributions_and_agree_with_maps() -> None:
    config = small(size=64, rotation=15.0, ratio=1.2)
    for seed in range(5):
        maps = torch.from_numpy(draw_maps(np.random.default_rng(seed), (80, 100), 1, config))
        target, seen = cell_targets(maps[:1], maps[1:], 8)
        torch.testing.assert_close(target.sum(-1), torch.ones(1, 64))
        places = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1).view(64, 2)
        expected_cells = target[0] @ places  # row, column
        for cell in torch.nonzero(seen[0]).flatten().tolist():
            pixel = torch.tensor([8.0 * (cell % 8), 8.0 * (cell // 8), 1.0], dtype=torch.float64)
            point = maps[0] @ pixel
            x, y = (8 * expected_cells[cell].flip(0)).double()
            torch.testing.assert_close(maps[1] @ torch.stack([x, y, torch.ones_like(x)]), point, atol=1e-3, rtol=1e-3)


def test_a_crop_moves_targets() -> None:
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    target, seen = cell_targets(identity, identity, 4, crop=2)
    assert seen.all()
    assert torch.equal(target[0], torch.eye(16))


def test_targets_of_pooled_cells_lie_between_those_of_their_cells() -> None:
    """A view shifted by one pooled cell of 2 x 2: node (i, j) lies at (i, j - 1); half a cell less, between the two."""
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    shifted = torch.tensor([[[1.0, 0, 16], [0, 1, 0]]], dtype=torch.float64)
    target, seen = cell_targets(identity, shifted, 4, pool=2)
    assert float(target[0, 6, 5]) == 1
    assert not seen.view(4, 4)[:, 0].any()
    # Turned by half a turn around pixel (12, 12), the middle of a map of 4 cells: the pooled nodes trade places.
    turned = torch.tensor([[[-1.0, 0, 24], [0, -1, 24]]], dtype=torch.float64)
    target, seen = cell_targets(identity, turned, 2, pool=2)
    assert seen.all()
    torch.testing.assert_close(target[0], torch.eye(4).flip(0))


@pytest.mark.parametrize("spread", [0.1, 0.6, 1.0])
def test_spread_targets_equal_a_gaussian(spread: float) -> None:
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    moved = torch.tensor([[[1.0, 0, -10], [0, 1, -3]]], dtype=torch.float64)
    target, seen = cell_targets(identity, moved, 6, spread=spread)
    assert seen[0, 0]
    x, y = 10 / 8, 3 / 8  # where cell (0, 0) lies in the other view, in cells
    expected = torch.tensor(
        [[np.exp(-((c - x) ** 2 + (r - y) ** 2) / (2 * spread**2)) for c in range(6)] for r in range(6)]
    )
    expected[expected <= 0.01 * expected.max()] = 0
    torch.testing.assert_close(target[0, 0].view(6, 6).double(), expected / expected.sum(), atol=1e-6, rtol=1e-5)


def test_covered_cells_do_not_count() -> None:
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    shifted = torch.tensor([[[1.0, 0, 8], [0, 1, 0]]], dtype=torch.float64)
    nothing = torch.zeros(1, 1, 4, dtype=torch.int64)
    column = torch.tensor([[[8, 0, 16, 32]]])  # pixels 8 to 15: the cells of column 1
    seen = cell_targets(identity, shifted, 4, boxes=(column, nothing))[1].view(4, 4)
    assert seen.tolist() == [[False, False, True, True]] * 4
    # Column 1 of the other view shows column 2 of this one.
    seen = cell_targets(identity, shifted, 4, boxes=(nothing, column))[1].view(4, 4)
    assert seen.tolist() == [[False, True, False, True]] * 4


def test_cells_of_pieces_are_followed_where_their_own_frame_moves() -> None:
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    right = torch.tensor([[[1.0, 0, -8], [0, 1, 0]]], dtype=torch.float64)
    # Behind nothing moves; the piece, pixels 8 to 15, goes to pixels 16 to 23.
    boxes = torch.tensor([[[8, 0, 16, 32]]]), torch.tensor([[[16, 0, 24, 32]]])
    target, seen = cell_targets(identity, identity, 4, boxes=boxes, others=(identity, right))
    assert seen.view(4, 4).tolist() == [[True, True, False, True]] * 4  # what lay in column 2 is covered now
    assert target[0].argmax(-1).view(4, 4)[:, [0, 1, 3]].tolist() == [[4 * r, 4 * r + 2, 4 * r + 3] for r in range(4)]


def test_followed_pieces_show_the_same_place() -> None:
    config = small(size=64, occlude=0.5, follow_pieces=True)
    maps = np.stack([np.eye(2, 3), np.array([[1.0, 0, -4], [0, 1, 6]])])
    boxes = draw_boxes(np.random.default_rng(0), maps, config)
    first, second = (box.reshape(2, 2).mean(0) for box in boxes[:, 0])
    assert np.abs(second - first - [4, -6]).max() <= 1


def test_boxes_cover_no_more_than_asked() -> None:
    config = small(size=64, occlude=0.5)
    rng = np.random.default_rng(0)
    boxes = np.concatenate([draw_boxes(rng, np.tile(np.eye(2, 3), (3, 1, 1)), config) for _ in range(100)])
    assert (boxes >= 0).all()
    assert (boxes <= 64).all()
    shares = (boxes[..., 2:] - boxes[..., :2]).prod(-1) / 64**2
    assert shares.max() <= 0.25 * 1.05  # sides are whole pixels
    assert 0.1 < shares.mean() < 0.15
    views, others = torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.ones(3, 3, 64, 64, dtype=torch.uint8)
    cover(views, others, boxes[:3])
    for view, (first, second) in zip(views, boxes[:3], strict=True):
        inside = [
            [any(a <= x < c and b <= y < d for a, b, c, d in (first, second)) for x in range(64)] for y in range(64)
        ]
        assert torch.equal(view[0].bool(), torch.tensor(inside))


def test_pooled_nodes_are_unit_means_of_squares() -> None:
    nodes = torch.nn.functional.normalize(torch.randn(2, 3, 25, 7, generator=torch.Generator().manual_seed(0)), dim=-1)
    found = pooled(nodes, 2)
    assert found.shape == (2, 3, 4, 7)  # the fifth row and column are left over
    square = nodes[1, 2][[10, 11, 15, 16]].mean(0)  # rows 2 and 3, columns 0 and 1
    torch.testing.assert_close(found[1, 2, 2], square / square.norm())
    assert pooled(nodes, 1) is nodes
    with pytest.raises(SettingError, match="raise size"):
        pooled(nodes, 3)


def test_patches_equal_unfold_and_kornia() -> None:
    from kornia.augmentation import RandomResizedCrop

    config = small(nodes="patches", views="shared", size=96, patch_size=32, patch_stride=16)
    x = torch.rand(2, 3, 96, 96)
    ours = jittered_patches(x, config, torch.tensor([5]))
    patches = torch.nn.functional.unfold(x, (32, 32), stride=16)
    count = patches.shape[-1]
    patches = patches.view(2, 3, 32, 32, count).permute(0, 4, 1, 2, 3).reshape(-1, 3, 32, 32)
    torch.manual_seed(5)
    jitter = RandomResizedCrop((32, 32), (0.7, 0.9), (0.7, 1.3), p=1.0, cropping_mode="resample")
    torch.testing.assert_close(ours, jitter(patches), atol=1e-4, rtol=1e-4)


def test_patches_of_a_clip_do_not_depend_on_the_others() -> None:
    config = small(nodes="patches", views="shared", size=64, patch_size=32, patch_stride=32)
    x = torch.rand(4, 3, 64, 64)
    whole = jittered_patches(x, config, torch.tensor([3, 4]))
    parts = [jittered_patches(x[:2], config, torch.tensor([3])), jittered_patches(x[2:], config, torch.tensor([4]))]
    assert torch.equal(whole, torch.cat(parts))


def test_colours() -> None:
    views = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    colours = torch.tensor([[1.0, 1, 1, 1, 1, 1, 0, 0]]).repeat(4, 1)
    torch.testing.assert_close(colour_views(views, colours), views.float() / 255)
    colours[1, 0], colours[2, 6], colours[3, 7] = 0.5, 1, 1.5
    out = colour_views(views, colours)
    torch.testing.assert_close(out[1], views[1].float() / 510)
    assert (out[2] == out[2, :1]).all()
    assert float(out[3].std()) < 0.7 * float(out[0].std())
