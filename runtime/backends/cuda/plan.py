"""The sizes of a launch: tiles, shares, shared memory. Pure arithmetic, the same on every device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.neighbourhood import half_heights

MOST_K = 32
_KEYS, _ROOM, _CHUNK = 32, 48, 32
_GROUPS = 4
_MOST_SHARES = 16


@dataclass(frozen=True)
class Plan:
    """How one frame's attention is cut up."""

    variant: Variant
    grid: tuple[int, int]
    """(h, w) in cells."""
    k: int
    tiles: int
    shares: int
    """Blocks that share the keys of a tile; with k in each frame, one for each frame."""
    joint: bool
    half: NDArray[np.int32]
    """half[|dy|] is the largest |dx| inside the neighbourhood; empty when every frame is searched everywhere."""
    window_rows: int
    """The most rows of a tile's window."""
    attend_shared: int
    """Bytes of shared memory of a block of `attend`."""
    settle_shared: int
    """Bytes of shared memory of a block of `settle`, without the words of live labels."""

    @property
    def cells(self) -> int:
        """H * w."""
        return self.grid[0] * self.grid[1]

    @property
    def settle_blocks(self) -> int:
        """Blocks of `settle`."""
        return -(-self.cells // _GROUPS)

    def settle_bytes(self, words: int) -> int:
        """Shared memory of a block of `settle` when a cell's live labels take `words`."""
        return _GROUPS * _padded(self.settle_shared + 4 * words)


def make_plan(
    settings: PropagationSettings, variant: Variant, grid: tuple[int, int], processors: int, shares: int | None = None
) -> Plan:
    """Cut up the attention.

    Args:
        settings: the protocol.
        variant: how the kernels are compiled.
        grid: (h, w) in cells.
        processors: multiprocessors of the device.
        shares: fixed number of shares, for tests and tuning.

    Raises:
        SettingError: k is above 32, or the context has more cells than an entry can count.
    """
    if settings.topk > MOST_K:
        raise SettingError(f"topk is {settings.topk}; on an NVIDIA GPU it can be at most {MOST_K} (use --engine cpu)")
    h, w = grid
    frames = settings.context_length + settings.max_pinned + 1
    if frames * h * w >= 2**32 or max(h, w) >= 2**15:
        raise SettingError(
            f"a context of {frames} frames of {h}x{w} cells is too large for a GPU; use a smaller --size"
        )
    half = half_heights(settings).astype(np.int32)
    tall, broad = variant.tile
    tiles = -(-h // tall) * -(-w // broad)
    rows = min(h, tall + 2 * (len(half) - 1)) if settings.local else 0
    joint = settings.topk_over == "joint"
    if not joint:
        shares = frames
    elif shares is None:
        # Four rounds of blocks even out tiles that cost more than others, and still start few lists from nothing.
        shares = max(1, min(_MOST_SHARES, round(4 * processors / tiles)))
    listed = shares * settings.topk if joint else 0
    return Plan(
        variant=variant,
        grid=grid,
        k=settings.topk,
        tiles=tiles,
        shares=shares,
        joint=joint,
        half=half,
        window_rows=rows,
        attend_shared=attend_bytes(variant, settings.topk, rows),
        settle_shared=8 * settings.topk + 8 * listed + 8 * 32,
    )


def attend_bytes(variant: Variant, k: int, window_rows: int) -> int:
    """Shared memory of a block of `attend`; the same sums as `layout_of` in attention.cu."""
    queries = variant.tile[0] * variant.tile[1]
    if variant.tensor:
        stages = 2 * _KEYS * variant.channels * 2
    else:
        stages = (queries + _KEYS) * (_CHUNK + 1) * 4 + queries * _KEYS * 4
    lists = queries * (8 * k + 8 * _ROOM + 8)
    small = _padded(3 * _KEYS * 4) + queries * 4 + 16
    return _padded(stages) + lists + small + _padded((window_rows + 1) * 4) + _padded(window_rows * 4)


def context_table(frames: list[tuple[int, bool, int]], query_slot: int, most_frames: int) -> NDArray[np.int32]:
    """The step's table, as portable.cuh reads it.

    Args:
        frames: slot, searched everywhere, copies; in the order in which equal similarities are preferred.
        query_slot: where the frame's features are and where its labels go.
        most_frames: length of the table.
    """
    table = np.zeros(4 + 4 * most_frames, np.int32)
    table[:2] = len(frames), query_slot
    for number, (slot, everywhere, copies) in enumerate(frames):
        table[4 + 4 * number : 7 + 4 * number] = slot, everywhere, copies
    return table


def _padded(count: int) -> int:
    return -(-count // 16) * 16
