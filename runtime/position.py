"""Where a tracker is in its stream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crwedge.core.errors import SourceError
from crwedge.core.images import grid_size, size_text
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.context import memory_formula
from crwedge.runtime.propagation.view import Size


class Position:
    """Counts frames, and holds the properties that all frames share.

    Args:
        index: of the next frame.
    """

    def __init__(self, index: int = 0) -> None:
        self.index = index
        """`index` of the next frame in the outputs."""
        self.source_index: int | None = None
        """Number of the last frame in its source."""
        self.frame_size: Size | None = None
        """(H, W) of the first frame."""
        self.cells_and_channels = (0, 0)
        """Cells of the first frame's grid, and channels of its features."""

    def check_size(self, size: Size) -> None:
        """Refuse a frame of another size (H, W) than the first one's.

        Raises:
            SourceError: it has another size.
        """
        if self.frame_size is not None and size != self.frame_size:
            raise SourceError(
                f"the frame is {size_text(size)} (height x width), the frames before it {size_text(self.frame_size)}; "
                "reset the tracker and give a mask, or keep one size"
            )

    def advance(self, source_index: int | None) -> int:
        """Count a frame; returns its `index`."""
        self.index, self.source_index = self.index + 1, source_index
        return self.index - 1

    def memory_formula(self, settings: PropagationSettings, labels: int, size: Size | None = None) -> str:
        """Memory of the context with `labels` soft labels a cell, as a formula and a number.

        Args:
            settings: the protocol.
            labels: K, the background included.
            size: (H, W) that whole frames are computed at; by default their own.
        """
        cells, channels = self.cells_and_channels
        computed = size or self.frame_size
        if settings.cells is not None and computed is not None:
            # A part of a frame has no more cells than the frame.
            cells = min(settings.cells, math.prod(grid_size(*computed)))
        return memory_formula(settings, cells, channels, labels, self.frame_size)[0]

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from plain values."""
        number, size, cells = values["source_index"], values["frame_size"], values["cells_and_channels"]
        self.index, self.source_index = int(values["index"]), None if number is None else int(number)
        self.frame_size = int(size[0]), int(size[1])
        self.cells_and_channels = int(cells[0]), int(cells[1])
