from __future__ import annotations

import numpy as np
import pytest
import torch

from crwedge.train.warps import CONTROL, bspline_weights, dense_displacement, displacement, draw_warps, unwarped


def basis(degree: int, knots: np.ndarray, index: int, u: float) -> float:
    """B-spline basis by the recursion of Cox and de Boor."""
    if degree == 0:
        return float(knots[index] <= u < knots[index + 1])
    left = (u - knots[index]) / (knots[index + degree] - knots[index])
    right = (knots[index + degree + 1] - u) / (knots[index + degree + 1] - knots[index + 1])
    return float(left * basis(degree - 1, knots, index, u) + right * basis(degree - 1, knots, index + 1, u))


def test_weights_are_the_cubic_basis() -> None:
    knots = np.arange(-3.0, CONTROL + 1)  # control point i is centred on knot i - 1
    for place in (0.0, 3.2, 17.9, 40.0, 63.9):
        u = place * (CONTROL - 3) / 64
        expected = [basis(3, knots, index, u) for index in range(CONTROL)]
        found = bspline_weights(torch.tensor([place], dtype=torch.float64), 64)[0]
        assert found.numpy() == pytest.approx(expected, abs=1e-9)
        assert float(found.sum()) == pytest.approx(1)


def test_dense_and_pointwise_displacements_agree() -> None:
    warps = draw_warps(np.random.default_rng(0), 3, 40, 0.7)
    dense = dense_displacement(warps, 40)
    points = torch.tensor([[3.0, 0, 39, 12], [5, 0, 39, 30]], dtype=torch.float64)
    found = displacement(torch.from_numpy(warps), points.expand(3, -1, -1), 40)
    for number, (x, y) in enumerate(points.T.long().tolist()):
        assert found[:, :, number].numpy() == pytest.approx(dense[:, :, y, x], abs=1e-9)


def test_the_inverse_undoes_the_warp() -> None:
    warps = torch.from_numpy(draw_warps(np.random.default_rng(1), 20, 96, 1.0))
    points = torch.from_numpy(np.random.default_rng(2).uniform(0, 95, (20, 2, 50)))
    moved = points + displacement(warps, points, 96)
    back, known = unwarped(warps, moved, 96)
    assert known.float().mean() > 0.98
    again = back + displacement(warps, back, 96)
    assert float((again - moved).abs().amax(1)[known].max()) < 0.25


def test_a_fold_is_not_called_known() -> None:
    warps = torch.from_numpy(draw_warps(np.random.default_rng(3), 50, 96, 1.0)) * 12
    points = torch.from_numpy(np.random.default_rng(4).uniform(0, 95, (50, 2, 50)))
    back, known = unwarped(warps, points, 96)
    error = (back + displacement(warps, back, 96) - points).abs().amax(1)
    assert not known.all()
    assert float(error[known].max()) < 0.25
