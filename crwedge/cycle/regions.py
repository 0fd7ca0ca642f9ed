"""Regions at the scale of objects, found without labels: clusters of colour and place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crwedge.core.colour import rgb_to_lab

_CELL = 4
_CLUSTERS, _ROUNDS = 14, 8
_LAB_UNITS = 30.0
"""A difference in colour that counts as much as a third of the frame's short side."""


def pseudo_regions(frame: NDArray[np.uint8], rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Up to `count` regions of a frame (H, W, 3), as a mask (H, W) of ids from 1.

    k-means over Lab and place on blocks of 4 x 4 pixels. Clusters that cover 1 to 15 % of the frame are kept, the more
    compact ones first.
    """
    height, width = frame.shape[0] // _CELL, frame.shape[1] // _CELL
    lab = rgb_to_lab(frame[: height * _CELL, : width * _CELL])
    lab = lab.reshape(height, _CELL, width, _CELL, 3).mean(axis=(1, 3))
    y, x = np.mgrid[:height, :width]
    place = np.stack([y, x], axis=-1) * (3.0 / min(height, width))
    points = np.concatenate([lab / _LAB_UNITS, place], axis=-1).reshape(-1, 5)
    centres = points[rng.choice(len(points), _CLUSTERS, replace=False)]
    nearest = np.zeros(len(points), np.int64)
    for _ in range(_ROUNDS):
        nearest = ((points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)).argmin(axis=1)
        for index in range(_CLUSTERS):
            if (nearest == index).any():
                centres[index] = points[nearest == index].mean(axis=0)
    kept = []
    for index in range(_CLUSTERS):
        member = nearest == index
        if 0.01 <= member.mean() <= 0.15:
            compact = points[member, 3:].var(axis=0).sum() / member.mean()
            kept.append((float(compact), index))
    mask = np.zeros(len(points), np.uint8)
    for number, (_, index) in enumerate(sorted(kept)[:count], start=1):
        mask[nearest == index] = number
    grown = np.repeat(np.repeat(mask.reshape(height, width), _CELL, axis=0), _CELL, axis=1)
    out = np.zeros(frame.shape[:2], np.uint8)
    out[: grown.shape[0], : grown.shape[1]] = grown
    return out
