"""Smooth random warps of a view: free-form deformations by a cubic B-spline, with a numerical inverse.

A warp is a grid of control displacements (2, G, G) in view pixels, x first. It moves view pixel p to p + d(p), where d is
the uniform cubic B-spline of the grid. Control point i lies at (i - 1) * S / (G - 3), S the side of the view.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CONTROL = 7
"""G: control points along a side; four knot spans cross the view."""

_ITERATIONS = 12
_TOLERANCE = 0.25  # pixels: a thirty-second of a cell


def draw_warps(rng: np.random.Generator, count: int, size: int, strength: float) -> NDArray[np.float64]:
    """Control displacements (count, 2, G, G), uniform up to an amplitude that is drawn for each view.

    Args:
        rng: what the warps follow from.
        count: views.
        size: S, side of a view in pixels.
        strength: largest amplitude, as a share of the distance between control points.
    """
    amplitude = strength * size / (CONTROL - 3) * rng.random((count, 1, 1, 1))
    return np.asarray(amplitude * rng.uniform(-1, 1, (count, 2, CONTROL, CONTROL)))


def bspline_weights(places: Tensor, size: int, control: int = CONTROL) -> Tensor:
    """Weights (..., G) of the control points at pixel coordinates (...) along one axis."""
    u = (places * ((control - 3) / size))[..., None] - (torch.arange(control, device=places.device) - 1)
    u = u.abs()
    near = 2 / 3 - u * u + u * u * u / 2
    far = (2 - u).clamp(min=0) ** 3 / 6
    return torch.where(u < 1, near, far)


def displacement(warps: Tensor, points: Tensor, size: int) -> Tensor:
    """D (..., 2, N) of warps (..., 2, G, G) at view pixels (..., 2, N), x and y."""
    x, y = (bspline_weights(points[..., axis, :], size, warps.shape[-1]) for axis in (0, 1))
    return torch.einsum("...kij,...ni,...nj->...kn", warps, y, x)


def dense_displacement(warps: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """D (..., 2, S, S) at every pixel of the view."""
    places = torch.arange(size, dtype=torch.float64)
    weights = bspline_weights(places, size, warps.shape[-1]).numpy()
    return np.asarray(weights @ warps @ weights.T)


def unwarped(warps: Tensor, points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Solve q + d(q) = p by fixed-point iteration.

    Args:
        warps: (..., 2, G, G).
        points: p (..., 2, N).
        size: S.

    Returns:
        q (..., 2, N), and whether the iteration has converged (..., N). Where a strong warp folds, it may not.
    """
    found = points
    for _ in range(_ITERATIONS):
        found = points - displacement(warps, found, size)
    error = (found + displacement(warps, found, size) - points).abs().amax(dim=-2)
    return found, error < _TOLERANCE
