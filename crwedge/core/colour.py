"""Colour spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rgb_to_lab(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """SRGB uint8 (H, W, 3) -> CIE L*a*b* (H, W, 3), white D65: L in 0..100, a and b about -100..100."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        np.float32,
    )
    xyz = linear[frame] @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    edge = (6 / 29) ** 3
    f = np.where(xyz > edge, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
