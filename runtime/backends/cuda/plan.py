"""The sizes of a launch of the attention: tiles, key splits, shared memory. Pure arithmetic, the same on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crwedge.core.errors import SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.neighbourhood import half_heights
from crwedge.runtime.propagation.view import View

MAX_K = 32
_KEYS, _ROOM, _CHUNK = 32, 48, 32
_GROUP, _GROUPS = 32, 4
_MAX_KEY_SPLITS = 16


@dataclass(frozen=True)
class Plan:
    """How one frame's attention is cut up."""

    variant: Variant
    tiles: int
    key_splits: int
    """Blocks that share the keys of a tile; with k in each frame, one for each frame."""
    box: tuple[int, int, int, int]
    """Top, bottom, left and right of the smallest box around all frames, in cells of the query's grid."""
    window_rows: int
    """The most rows of a tile's window."""
    frame_cells: int
    """Cells of the largest context frame."""
    attention_bytes: int
    """Shared memory of a block of `topk_attention`."""


def make_plan(
    settings: PropagationSettings,
    variant: Variant,
    view: View,
    frames: Sequence[View],
    processors: int,
    key_splits: int | None = None,
) -> Plan:
    """Cut up the attention.

    Args:
        settings: neighbourhood and k.
        variant: how the kernels are compiled.
        view: of the query.
        frames: of each context frame.
        processors: multiprocessors of the device.
        key_splits: a fixed number, for tests and tuning.

    Raises:
        SettingError: k is above 32, or the context has more cells than an entry can count.
    """
    if settings.topk > MAX_K:
        raise SettingError(f"topk is {settings.topk}; on an NVIDIA GPU it can be at most {MAX_K} (use --engine cpu)")
    (h, w), frame_cells = view.grid, max(frame.cells for frame in frames)
    if len(frames) * frame_cells >= 2**32 or any(max(frame.grid) >= 2**15 for frame in frames):
        raise SettingError(
            f"a context of {len(frames)} frames of {frame_cells} cells is too large for a GPU; use a smaller size"
        )
    tile_h, tile_w = variant.tile
    tiles = -(-h // tile_h) * -(-w // tile_w)
    if settings.topk_over == "frame":
        key_splits = len(frames)
    elif key_splits is None:
        # Four rounds of blocks even out tiles that cost more than others, and still start few lists from nothing.
        key_splits = max(1, min(_MAX_KEY_SPLITS, round(4 * processors / tiles)))
    offsets = [tuple(f - q for f, q in zip(frame.origin, view.origin, strict=True)) for frame in frames]
    top, left = (min(offset[axis] for offset in offsets) for axis in (0, 1))
    bottom, right = (
        max(offset[axis] + frame.grid[axis] for offset, frame in zip(offsets, frames, strict=True)) for axis in (0, 1)
    )
    reach = len(half_heights(settings)) - 1
    rows = min(bottom - top, tile_h + 2 * reach) if settings.local else 0
    return Plan(
        variant=variant,
        tiles=tiles,
        key_splits=key_splits,
        box=(top, bottom, left, right),
        window_rows=rows,
        frame_cells=frame_cells,
        attention_bytes=attention_bytes(variant, settings.topk, rows),
    )


def attention_bytes(variant: Variant, k: int, window_rows: int) -> int:
    """Shared memory of a block of `topk_attention`; the same sums as `layout_of` in attention.cu."""
    queries = variant.tile[0] * variant.tile[1]
    if variant.tensor:
        stages = 2 * _KEYS * variant.channels * 2
    else:
        stages = (queries + _KEYS) * (_CHUNK + 1) * 4 + queries * _KEYS * 4
    lists = queries * (8 * k + 8 * _ROOM + 8)
    small = _padded(3 * _KEYS * 4) + queries * 4 + 16
    return _padded(stages) + lists + small + _padded((window_rows + 1) * 4) + _padded(window_rows * 4)


def merge_blocks(cells: int) -> int:
    """Blocks of `merge_topk`."""
    return -(-cells // _GROUPS)


def merge_bytes(k: int, key_splits: int, joint: bool, bitmask_words: int) -> int:
    """Shared memory of a block of `merge_topk`."""
    listed = k * key_splits if joint else 0
    return _GROUPS * _padded(8 * k + 8 * listed + 12 * _GROUP + 4 * bitmask_words)


def _padded(count: int) -> int:
    return -(-count // 16) * 16
