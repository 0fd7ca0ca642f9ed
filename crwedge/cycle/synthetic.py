"""What is known of footage because we did it: warps that grow along a clip, and objects that cross it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import resize_frame

Frame = NDArray[np.uint8]
Size = tuple[int, int]

_WAVES = 3


@dataclass(frozen=True)
class WarpPath:
    """A warp that grows from the identity (share 0) to its full strength (share 1).

    Pixel p of the warped frame shows pixel centre + growth * turn (p + bend(p) - centre) + shift of the frame.
    """

    size: Size
    """(H, W)."""
    shift: tuple[float, float]
    """x and y in pixels."""
    turn: float
    """Radians."""
    growth: float
    """Logarithm of the factor."""
    bend: NDArray[np.float64]
    """(n, 6) waves: amplitude x and y in pixels, waves along x and y over the frame, phase x and y."""

    def points(self, share: float) -> NDArray[np.float64]:
        """(2, H, W): x and y of the frame pixel that each warped pixel shows."""
        height, width = self.size
        y, x = np.mgrid[:height, :width].astype(np.float64)
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for across, down, waves_x, waves_y, phase_x, phase_y in self.bend:
            angle = 2 * math.pi * (waves_x * x / width + waves_y * y / height)
            dx += share * across * np.sin(angle + phase_x)
            dy += share * down * np.sin(angle + phase_y)
        u, v = x + dx - (width - 1) / 2, y + dy - (height - 1) / 2
        factor, angle = math.exp(share * self.growth), share * self.turn
        cosine, sine = factor * math.cos(angle), factor * math.sin(angle)
        return np.stack(
            [
                (width - 1) / 2 + cosine * u - sine * v + share * self.shift[0],
                (height - 1) / 2 + sine * u + cosine * v + share * self.shift[1],
            ]
        )

    def inside(self, share: float) -> NDArray[np.bool_]:
        """(H, W): which warped pixels show a pixel of the frame."""
        x, y = self.points(share)
        return np.asarray((x >= 0) & (x <= self.size[1] - 1) & (y >= 0) & (y <= self.size[0] - 1))

    def mask(self, mask: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
        """A mask (H, W) warped, nearest; 0 outside of the frame."""
        x, y = np.round(self.points(share)).astype(np.int64)
        height, width = self.size
        found = mask[y.clip(0, height - 1), x.clip(0, width - 1)]
        return np.where(self.inside(share), found, np.uint8(0))


def draw_warp(rng: np.random.Generator, size: Size, strength: float) -> WarpPath:
    """A warp for frames of `size`; `strength` 1 shifts by a fifth of the short side, turns by 25 degrees."""
    short = min(size)
    angle = rng.uniform(0, 2 * math.pi)
    reach = strength * short * rng.uniform(0.1, 0.2)
    bend = np.stack(
        [
            np.concatenate(
                [
                    rng.uniform(-1, 1, 2) * strength * 0.02 * short,
                    rng.integers(0, 3, 2),
                    rng.uniform(0, 2 * math.pi, 2),
                ]
            )
            for _ in range(_WAVES)
        ]
    )
    return WarpPath(
        size,
        (reach * math.cos(angle), reach * math.sin(angle)),
        strength * math.radians(float(rng.uniform(10, 25)) * rng.choice([-1, 1])),
        strength * float(rng.uniform(0.1, 0.3) * rng.choice([-1, 1])),
        bend,
    )


def warped(frame: Frame, path: WarpPath, share: float) -> Frame:
    """Sample a frame (H, W, 3) linearly through a warp; edges repeat."""
    if share == 0:
        return frame
    height, width = path.size
    x, y = path.points(share)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    x0, y0 = x.astype(np.int64), y.astype(np.int64)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = ((v - v0)[..., None].astype(np.float32) for v, v0 in ((x, x0), (y, y0)))
    top = frame[y0, x0] * (1 - fx) + frame[y0, x1] * fx
    low = frame[y1, x0] * (1 - fx) + frame[y1, x1] * fx
    return np.asarray(top * (1 - fy) + low * fy + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Occluder:
    """An elliptical piece of another frame that enters, crosses and leaves before the cycle closes."""

    radii: tuple[float, float]
    """Across and down, in pixels."""
    start: tuple[float, float]
    """x and y of the centre at time 0.1."""
    stop: tuple[float, float]
    """At time 0.9. Both are outside of the frame."""

    def over(self, frame: Frame, other: Frame, time: float) -> Frame:
        """Lay the piece over `frame` at `time` 0..1 of the cycle."""
        share = (time - 0.1) / 0.8
        x, y = (a + share * (b - a) for a, b in zip(self.start, self.stop, strict=True))
        height, width = frame.shape[:2]
        v, u = np.mgrid[:height, :width]
        inside = ((u - x) / self.radii[0]) ** 2 + ((v - y) / self.radii[1]) ** 2 < 1
        if not inside.any():
            return frame
        texture = resize_frame(other, (height, width))
        # The piece carries its texture along.
        moved = np.roll(texture, (round(y), round(x)), axis=(0, 1))
        return np.where(inside[..., None], moved, frame)


def draw_occluder(rng: np.random.Generator, size: Size) -> Occluder:
    """An occluder of about a tenth of the frame that passes near its middle."""
    height, width = size
    short = min(size)
    radii = (short * rng.uniform(0.12, 0.22), short * rng.uniform(0.12, 0.22))
    angle = rng.uniform(0, 2 * math.pi)
    reach = math.hypot(height, width) / 2 + max(radii)
    middle = (width / 2 + rng.uniform(-0.2, 0.2) * width, height / 2 + rng.uniform(-0.2, 0.2) * height)
    way = (reach * math.cos(angle), reach * math.sin(angle))
    return Occluder(radii, (middle[0] - way[0], middle[1] - way[1]), (middle[0] + way[0], middle[1] + way[1]))
