"""Joints to soft labels (Gaussians on the feature grid) and back.

Joints are (J, 2), as in `crwedge.core.joints`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIGMA = 0.5
"""Standard deviation of a joint's Gaussian, in feature cells (JHMDB protocol)."""
STRONGEST = 3
"""Number of cells that a joint is read from."""


def joints_to_soft(
    joints: NDArray[np.float64], size: tuple[int, int], grid: tuple[int, int], sigma: float = SIGMA
) -> NDArray[np.float32]:
    """Draw joints as Gaussians on the feature grid.

    Args:
        joints: (J, 2) x, y in pixels; NaN for a joint that is not visible, whose channel stays 0.
        size: (H, W) of the frame in pixels.
        grid: (h, w) of the features.
        sigma: standard deviation in cells.

    Returns:
        (J + 1, h, w) float32: each joint's channel is 1 at its exact place; channel 0 is 1 minus their sum, at least 0.
    """
    h, w = grid
    soft = np.zeros((len(joints) + 1, h, w), np.float32)
    # Coordinates in units of cells; cell centres are at 0.5, 1.5, ...
    cell = (joints + 0.5) * (np.array([w, h]) / np.array([size[1], size[0]]))
    visible = np.isfinite(cell).all(axis=1)
    ys, xs = np.arange(h) + 0.5, np.arange(w) + 0.5
    y_part = np.exp(-((ys[None, :] - cell[visible, 1, None]) ** 2) / (2 * sigma**2))
    x_part = np.exp(-((xs[None, :] - cell[visible, 0, None]) ** 2) / (2 * sigma**2))
    soft[1:][visible] = y_part[:, :, None] * x_part[:, None, :]
    soft[0] = np.clip(1 - soft[1:].sum(axis=0), 0, 1)
    return soft


def soft_to_joints(
    soft: NDArray[np.float32], size: tuple[int, int], strongest: int = STRONGEST
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read joints from soft labels: the mean position of the strongest cells, weighted by their values.

    Args:
        soft: (J + 1, h, w); channel 0, the background, is not read.
        size: (H, W) of the frame in pixels.
        strongest: number of cells to average over.

    Returns:
        joints (J, 2) x, y in pixels, NaN where a channel is empty; and the largest value of each channel (J,).
    """
    channels, h, w = soft.shape
    flat = np.asarray(soft[1:], np.float64).reshape(channels - 1, h * w)
    strongest = min(strongest, h * w)
    cells = np.argpartition(flat, h * w - strongest, axis=1)[:, h * w - strongest :]
    weight = np.maximum(np.take_along_axis(flat, cells, axis=1), 0)
    total = weight.sum(axis=1)
    weight /= np.where(total > 0, total, 1)[:, None]
    x = ((cells % w + 0.5) * weight).sum(axis=1) * (size[1] / w) - 0.5
    y = ((cells // w + 0.5) * weight).sum(axis=1) * (size[0] / h) - 0.5
    joints = np.stack([x, y], axis=1)
    joints[total <= 0] = np.nan
    return joints, flat.max(axis=1)
