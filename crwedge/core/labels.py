"""Label maps (object ids and soft labels of a frame), linear resizing, and the overlap of two maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.described import described
from crwedge.core.joints import FrameJoints
from crwedge.core.masks import VOID


@described
@dataclass(frozen=True)
class LabelMap:
    """The tracker's result for one frame."""

    ids: NDArray[np.uint8]
    """(H, W) object ids, 0 background, of the frame's own size."""
    index: int
    """Number of the frame, from 0."""
    object_ids: tuple[int, ...]
    """The objects followed; object_ids[i] is channel i + 1 of `soft`."""
    soft: NDArray[np.float32]
    """(K, h, w) soft labels at grid resolution, channel 0 is the background."""
    pts: float | None = None
    """Time stamp of the frame in seconds; None where the source has none."""
    frame: NDArray[np.uint8] | None = None
    """(H, W, 3) RGB frame, for sinks that draw."""
    source_index: int | None = None
    """Number of the frame in its source, from 0. It is larger than `index` where frames were dropped."""
    confidence: Mapping[int, float] = field(default_factory=dict)
    """Expected IoU with the truth, 0 to 1, of each object; empty when it is not estimated."""
    states: Mapping[int, str] = field(default_factory=dict)
    """`ok`, `recovering` or `lost` for each object; `searching` for an object of a target that was never found."""
    joints: FrameJoints | None = None
    """Joints, when the prompt was joints; joint i is object i + 1."""
    name: str | None = None
    """Name of the frame's file without the suffix, where it has one."""
    time: float | None = None
    """Arrival time of the frame (of a file: the time it was read), in seconds since 1970."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of the objects that have one."""

    def to_supervision(self) -> Any:
        """The objects as `supervision.Detections`, with masks (N, H, W), boxes and, where it is estimated, confidence.

        The id of an object is its `tracker_id` and its `class_id`; `data["class_name"]` has its name, or the id as text.
        Objects without a pixel are left out. Joints are not detections.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from crwedge.core.optional import import_optional
        from crwedge.core.places import object_places

        supervision = import_optional("supervision", extra="supervision")
        places = {i: place for i, place in object_places(self.ids).items() if i in self.object_ids}
        ids = np.array(list(places), np.int64)
        boxes = np.array([place.box for place in places.values()], np.float32).reshape(-1, 4)
        known = len(places) > 0 and all(i in self.confidence for i in places)
        return supervision.Detections(
            xyxy=np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1),
            mask=np.array([self.ids == i for i in places], np.bool_).reshape(-1, *self.ids.shape),
            confidence=np.array([self.confidence[i] for i in places], np.float32) if known else None,
            class_id=ids,
            tracker_id=ids,
            data={"class_name": np.array([self.names.get(i, str(i)) for i in places], dtype=np.str_)},
        )


Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Low index, high index and weight of the high one, for each sample."""


def linear_taps(n_out: int, n_in: int, first: int = 0, count: int | None = None) -> Taps:
    """The position of each of `n_out` samples among `n_in`.

    Half-pixel centres, edges repeated, no antialiasing: OpenCV's INTER_LINEAR.

    Args:
        n_out: samples.
        n_in: values along the whole side.
        first: number of the first value that is present; indices count from it, and edges are repeated.
        count: number of values present; by default all.
    """
    position = (np.arange(n_out, dtype=np.float64) + 0.5) * (n_in / n_out) - 0.5
    last = (n_in - first if count is None else count) - 1
    position = np.clip(position - first, 0.0, last)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, last)
    return low, high, (position - low).astype(np.float32)


def resize_linear(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (K, h, w) to (K, *size) linearly: half-pixel centres, no antialiasing."""
    return resize_taps(maps, linear_taps(size[0], maps.shape[1]), linear_taps(size[1], maps.shape[2]))


def resize_taps(maps: NDArray[np.float32], rows: Taps, columns: Taps) -> NDArray[np.float32]:
    """Resize (K, h, w) to the samples given by the taps of both axes."""
    (y0, y1, fy), (x0, x1, fx) = rows, columns
    one = np.float32(1)
    lines = maps[:, y0] * (one - fy)[None, :, None] + maps[:, y1] * fy[None, :, None]
    return np.asarray(lines[:, :, x0] * (one - fx) + lines[:, :, x1] * fx, np.float32)


def soft_labels(
    mask: NDArray[np.uint8], object_ids: tuple[int, ...], grid: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The one-hot mask (H, W), resized linearly to `grid` = (h, w); the one-hot mask of full size is never stored.

    Returns:
        soft: (K, h, w) with K = 1 + len(object_ids); other ids and void count as background.
        known: (h, w) share of each cell that is not void.
    """
    y0, y1, fy = linear_taps(grid[0], mask.shape[0])
    x0, x1, fx = linear_taps(grid[1], mask.shape[1])
    channel = np.zeros(256, np.int64)
    for index, object_id in enumerate(object_ids, start=1):
        channel[object_id] = index
    soft = np.zeros((1 + len(object_ids), grid[0] * grid[1]), np.float32)
    known = np.zeros(grid, np.float32)
    cells = np.arange(grid[0] * grid[1])
    one = np.float32(1)
    for rows, wy in ((y0, one - fy), (y1, fy)):
        for columns, wx in ((x0, one - fx), (x1, fx)):
            taps = mask[np.ix_(rows, columns)]
            weight = np.outer(wy, wx).astype(np.float32)
            soft[channel[taps].reshape(-1), cells] += weight.reshape(-1)
            known += weight * (taps != VOID)
    return soft.reshape(-1, *grid), known


def area_labels(
    mask: NDArray[np.uint8], object_ids: tuple[int, ...], grid: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The shares of each cell's area that belong to each object of a mask (H, W), on `grid` = (h, w).

    Every object keeps at least one cell: if it has the largest share of no cell, it takes the cell that holds most of it.

    Returns:
        soft, known: as `soft_labels`.
    """
    (h, w), count = grid, 1 + len(object_ids)
    channel = np.zeros(256, np.int64)
    for index, object_id in enumerate(object_ids, start=1):
        channel[object_id] = index
    rows = np.arange(mask.shape[0]) * h // mask.shape[0]
    columns = np.arange(mask.shape[1]) * w // mask.shape[1]
    cells = rows[:, None] * w + columns
    sums = np.bincount((channel[mask] * (h * w) + cells).reshape(-1), minlength=count * h * w).reshape(count, -1)
    area = np.maximum(sums.sum(axis=0), 1)
    soft = (sums / area).astype(np.float32)
    # Objects that touch the fewest cells choose first.
    for index in 1 + np.argsort((sums[1:] > 0).sum(axis=1), kind="stable"):
        winner = soft.argmax(axis=0)
        if sums[index].any() and not (winner == index).any():
            # Not the only cell of another object, where there is a choice.
            free = (sums[index] > 0) & ((winner == 0) | (np.bincount(winner, minlength=count)[winner] > 1))
            cell = int(np.argmax(sums[index] * free if free.any() else sums[index]))
            soft[:, cell] = 0
            soft[index, cell] = 1
    void = np.bincount(cells[mask == VOID], minlength=h * w)
    return soft.reshape(count, h, w), (1 - void / area).astype(np.float32).reshape(h, w)


def argmax_ids(maps: NDArray[np.float32], object_ids: tuple[int, ...]) -> NDArray[np.uint8]:
    """(K, H, W) scores -> (H, W) ids; ties go to the lower channel."""
    table = np.array((0, *object_ids), np.uint8)
    return np.asarray(table[np.argmax(maps, axis=0)], np.uint8)


def region_iou(a: NDArray[np.uint8], b: NDArray[np.uint8], object_ids: tuple[int, ...]) -> NDArray[np.float64]:
    """Intersection over union (objects,) of each object in two label maps (H, W); 1 where neither map has it."""
    both = np.array([np.count_nonzero((a == i) & (b == i)) for i in object_ids], np.float64)
    either = np.array([np.count_nonzero((a == i) | (b == i)) for i in object_ids], np.float64)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
