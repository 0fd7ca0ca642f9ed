"""Contact sheets: a few frames of a clip with prediction and truth."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.files import atomic_write
from crwedge.core.images import resize_frame
from crwedge.core.masks import resize_mask
from crwedge.runtime.sinks.draw import draw_joints, overlay, sheet

WIDTH = 300
"""Width of one picture in pixels."""
PICTURES = 6


class SheetMaker:
    """Collects evenly spaced frames of a clip and writes them as one picture.

    The upper row shows the prediction, the lower one the truth.

    Args:
        length: number of frames of the clip.
        pictures: number of frames to show.
    """

    def __init__(self, length: int, pictures: int = PICTURES) -> None:
        self._wanted = set(np.linspace(0, max(length - 1, 0), min(pictures, length)).round().astype(int).tolist())
        self._rows: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = ([], [])

    def wants(self, number: int) -> bool:
        """Whether frame `number` is shown."""
        return number in self._wanted

    def add_masks(self, frame: NDArray[np.uint8], ids: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, 3) with predicted and true ids (H, W)."""
        size = self._size(frame)
        small = resize_frame(frame, size)
        for row, mask in zip(self._rows, (ids, truth), strict=True):
            row.append(overlay(small, resize_mask(mask, size)))

    def add_joints(
        self, frame: NDArray[np.uint8], joints: NDArray[np.float64], truth: NDArray[np.float64] | None
    ) -> None:
        """Add a frame (H, W, 3) with predicted and true joints (J, 2), x and y in pixels of the frame."""
        size = self._size(frame)
        scale = np.array([size[1] / frame.shape[1], size[0] / frame.shape[0]])
        for row, points in zip(self._rows, (joints, truth), strict=True):
            small = resize_frame(frame, size)
            row.append(small if points is None else draw_joints(small, (points + 0.5) * scale - 0.5))

    def write(self, path: Path) -> None:
        """Write the sheet as a JPEG."""
        from PIL import Image

        rows = [row for row in self._rows if row]
        if not rows:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(sheet(rows)).save(buffer, "JPEG", quality=80)
        with atomic_write(path) as file:
            file.write(buffer.getvalue())

    @staticmethod
    def _size(frame: NDArray[np.uint8]) -> tuple[int, int]:
        return max(16, round(frame.shape[0] * WIDTH / frame.shape[1])), WIDTH
