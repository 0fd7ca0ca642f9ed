"""The part of a frame that is computed, and its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.images import STRIDE, grid_size, resize_frame

Size = tuple[int, int]
HALO = 2
"""Cells around a view that are encoded and then dropped."""


@dataclass(frozen=True)
class View:
    """A rectangle of cells of a frame that was scaled to `size`.

    The view that covers the whole frame is `View.whole(size)`. Two views of the same `size` share one system of cells:
    cell (y, x) of a view is cell (origin_y + y, origin_x + x) of the frame.
    """

    size: Size
    """(H, W) of the whole scaled frame, in pixels."""
    origin: Size
    """(y, x) of the first computed cell, in cells of the scaled frame."""
    grid: Size
    """(h, w), cells that are computed."""

    def __post_init__(self) -> None:
        """Check that the view lies inside its frame."""
        full = grid_size(*self.size)
        inside = all(o >= 0 and n > 0 and o + n <= f for o, n, f in zip(self.origin, self.grid, full, strict=True))
        if not inside:
            raise ValueError(f"a view of {self.grid} cells at {self.origin} does not lie in a frame of {full} cells")

    @classmethod
    def whole(cls, size: Size) -> View:
        """The view that covers all of a frame of `size` = (H, W) pixels."""
        return cls(size, (0, 0), grid_size(*size))

    @classmethod
    def of(cls, sides: Sequence[Sequence[int]]) -> View:
        """The view of plain values: size, origin and grid."""
        size, origin, grid = ((int(a), int(b)) for a, b in sides)
        return cls(size, origin, grid)

    def finer(self, s: int) -> View:
        """The view of labels that are `s` times as fine as the cells; it has no pixels of its own."""
        if s == 1:
            return self
        (height, width), (y, x), (h, w) = grid_size(*self.size), self.origin, self.grid
        return View((STRIDE * s * height, STRIDE * s * width), (s * y, s * x), (s * h, s * w))

    @property
    def covers_frame(self) -> bool:
        """Whether every cell of the frame is computed."""
        return self.grid == grid_size(*self.size)

    @property
    def cells(self) -> int:
        """H * w."""
        return self.grid[0] * self.grid[1]

    @property
    def encoded(self) -> View:
        """The view that is encoded for this one: with a halo of cells at each side that the frame's edge does not cut.

        Padding with zeros changes the features at a cut edge, so that they match other cut edges; the halo is dropped.
        """
        full = grid_size(*self.size)
        low = [max(0, first - HALO) for first in self.origin]
        high = [min(total, o + n + HALO) for total, o, n in zip(full, self.origin, self.grid, strict=True)]
        return View(self.size, (low[0], low[1]), (high[0] - low[0], high[1] - low[1]))

    def without_halo(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The view's part of features (C, h', w') of `encoded`.

        Raises:
            CrwedgeError: they are of another size.
        """
        if features.shape[1:] != self.encoded.grid:
            raise CrwedgeError(f"the engine gave features of {features.shape[1:]} cells, not {self.encoded.grid}")
        y, x = (own - wide for own, wide in zip(self.origin, self.encoded.origin, strict=True))
        return features[:, y : y + self.grid[0], x : x + self.grid[1]]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the scaled frame's pixels that belong to the view."""
        (y, x), (h, w), (height, width) = self.origin, self.grid, self.size
        return (
            slice(STRIDE * y, min(STRIDE * (y + h), height)),
            slice(STRIDE * x, min(STRIDE * (x + w), width)),
        )

    @property
    def pixel_size(self) -> Size:
        """(H, W) of the pixels that are encoded."""
        rows, columns = self.box
        return rows.stop - rows.start, columns.stop - columns.start

    def pixels(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the encoder gets of an RGB uint8 frame (H, W, 3) of any size."""
        scaled = resize_frame(frame, self.size)
        return scaled if self.covers_frame else np.ascontiguousarray(scaled[self.box])

    def part(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """The view's cells (K, h, w) of maps over all cells of the frame."""
        if self.covers_frame:
            return maps
        (y, x), (h, w) = self.origin, self.grid
        return np.ascontiguousarray(maps[:, y : y + h, x : x + w])

    def embed(self, soft: NDArray[np.float32]) -> NDArray[np.float32]:
        """Soft labels (K, h, w) of the view among all cells of the frame, which are background."""
        if self.covers_frame:
            return soft
        (y, x), (h, w) = self.origin, self.grid
        maps = np.zeros((soft.shape[0], *grid_size(*self.size)), np.float32)
        maps[0] = 1
        maps[:, y : y + h, x : x + w] = soft
        return maps

    def frame_box(self, size: Size) -> tuple[slice, slice]:
        """Rows and columns of the pixels of a frame of `size` = (H, W) whose centres lie in the view's cells."""
        rows, columns = self.pixel_edges(size)
        return slice(int(rows[0]), int(rows[-1])), slice(int(columns[0]), int(columns[-1]))

    def pixel_edges(self, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(h + 1,), (w + 1,): of a frame of `size` = (H, W), the first pixel of each row and column of cells, and the end."""
        full = grid_size(*self.size)
        found = []
        for first, cells, total, pixels in zip(self.origin, self.grid, full, size, strict=True):
            # Pixel i lies in cell (i + 1/2) * total / pixels.
            edges = -(-(2 * (first + np.arange(cells + 1)) * pixels - total) // (2 * total))
            found.append(np.clip(edges, 0, pixels))
        return found[0], found[1]
