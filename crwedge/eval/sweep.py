"""Propagation under many settings at once: they look at the same features, so each similarity is computed once.

The products of features are nearly all of a propagation's cost, and settings change only which of the similarities count,
and how. Each setting keeps soft labels of its own. The results are those of `LabelPropagator` up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.attention import KEY_BLOCK, TILE, cpu_count, strip_height
from crwedge.runtime.propagation.blas import one_blas_thread
from crwedge.runtime.propagation.context import ContextBuffer, ContextFrame
from crwedge.runtime.propagation.neighbourhood import half_heights, is_global
from crwedge.runtime.propagation.propagator import check_features


def shared_key(settings: PropagationSettings) -> tuple[object, ...]:
    """Settings with the same key can be swept together: their contexts hold the same frames in the same form."""
    return settings.prefill, settings.storage, settings.max_pinned


def sweep_features(
    features: Iterable[NDArray[np.float32]],
    first_soft: NDArray[np.float32],
    points: Mapping[str, PropagationSettings],
    workers: int | None = None,
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Soft labels of every frame under every setting.

    Args:
        features: (C, h, w) of each frame in order, unit length over C.
        first_soft: (K, h, w) soft labels of the first frame.
        points: label -> settings, all with one `shared_key`.
        workers: threads; by default every processor this process may use.

    Yields:
        For every frame, label -> (K, h, w); those of the first are `first_soft`.

    Raises:
        SettingError: the settings cannot share a context.
    """
    if len({shared_key(settings) for settings in points.values()}) != 1:
        raise SettingError("settings of differing prefill, storage or max_pinned cannot be swept together")
    longest = max(points.values(), key=lambda settings: settings.context_length)
    context, lanes = ContextBuffer.from_settings(longest), {}
    slots, (count, h, w) = longest.max_pinned + longest.context_length, first_soft.shape
    workers = workers or cpu_count()
    with ThreadPoolExecutor(workers, "crwedge-sweep") as pool:
        for current in features:
            check_features(current)
            if context.empty:
                lanes = {
                    name: _Lane(settings, np.zeros((slots, h * w, count), np.float32))
                    for name, settings in points.items()
                }
                found = dict.fromkeys(points, first_soft)
                context.pin(current, first_soft)
            else:
                _attend(np.ascontiguousarray(current.transpose(1, 2, 0)), context, list(lanes.values()), workers, pool)
                found = {name: np.ascontiguousarray(lane.out.T).reshape(count, h, w) for name, lane in lanes.items()}
                # The context's own labels are not looked at.
                context.append(current, first_soft)
            for name, lane in lanes.items():
                lane.labels[context.newest_slot] = found[name].reshape(count, -1).T
            yield found


@dataclass
class _Lane:
    """One setting: its neighbourhood, its labels, and what it looks at in the present frame."""

    settings: PropagationSettings
    labels: NDArray[np.float32]
    """(slots, h * w, K)."""
    half: NDArray[np.int64] = field(init=False)
    frames: list[ContextFrame] = field(init=False, default_factory=list)
    out: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.half = half_heights(self.settings)

    @property
    def reach(self) -> int:
        return len(self.half) - 1


class _Found:
    """The best of a strip's queries for one lane."""

    def __init__(self, lane: _Lane, queries: int) -> None:
        joint = lane.settings.topk_over == "joint"
        k = lane.settings.topk
        kept = k if joint else k * len(lane.frames)
        self.lane = lane
        self.best = np.full((queries, kept), -np.inf, np.float32)
        self.entries = np.zeros((queries, kept), np.int64)
        self.weights = np.ones(kept, np.float32)
        self.copies: list[int] = []
        self.columns: list[slice] = []
        for number, frame in enumerate(lane.frames):
            columns = slice(0, k) if joint else slice(number * k, (number + 1) * k)
            if not joint:
                self.weights[columns] = frame.copies
            self.columns.append(columns)
            self.copies.append(frame.copies if joint else 1)

    def tile(self, number: int, rows: slice) -> tuple[int, NDArray[np.float32], NDArray[np.int64]]:
        """What a scan of the lane's frame `number` needs: its copies, and the best so far with their entries."""
        columns = self.columns[number]
        return self.copies[number], self.best[rows, columns], self.entries[rows, columns]


def _attend(
    query: NDArray[np.float32], context: ContextBuffer, lanes: Sequence[_Lane], workers: int, pool: ThreadPoolExecutor
) -> None:
    """Fill `out` of every lane with the soft labels (h * w, K) of the frame whose features (h, w, C) are `query`."""
    h, w, _ = query.shape
    for lane in lanes:
        context.newest = lane.settings.context_length
        lane.frames = context.frames()
        lane.out = np.empty((h * w, lane.labels.shape[2]), np.float32)
    context.newest = None
    tall = strip_height(h, workers)
    strips = [(y, min(y + tall, h)) for y in range(0, h, tall)]
    with one_blas_thread():
        list(pool.map(lambda strip: _strip(query, strip, lanes), strips))


def _strip(query: NDArray[np.float32], strip: tuple[int, int], lanes: Sequence[_Lane]) -> None:
    """All cells of the rows y0..y1 against the whole context, for every lane."""
    h, w, c = query.shape
    y0, y1 = strip
    tall = y1 - y0
    packed = np.empty((w, tall, c), np.float32)
    kernels.pack_rows(query, y0, y1, packed)
    queries = packed.reshape(w * tall, c)
    found = [_Found(lane, w * tall) for lane in lanes]
    # Newest first and the pinned ones last, as each lane has them: (slot, everywhere) -> who looks at it, as its what.
    wanted: dict[tuple[int, bool], list[tuple[_Found, int]]] = {}
    stored: dict[int, NDArray[np.float32]] = {}
    for one in sorted(found, key=lambda one: -len(one.lane.frames)):
        for number, frame in enumerate(one.lane.frames):
            wanted.setdefault((frame.slot, is_global(one.lane.settings, frame)), []).append((one, number))
            stored[frame.slot] = frame.features  # type: ignore[assignment]
    for (slot, everywhere), looking in wanted.items():
        features = np.ascontiguousarray(stored[slot], np.float32)
        search = _everywhere if everywhere else _window
        search(queries, features, strip, slot * h * w, looking)
    for one in found:
        lane = one.lane
        labels = lane.labels.reshape(-1, lane.labels.shape[2])
        where = (one.best, one.entries, one.weights, labels, lane.settings.temperature)
        kernels.gather(*where, (w, tall), (y0, w), lane.out)


def _everywhere(
    queries: NDArray[np.float32],
    features: NDArray[np.float32],
    strip: tuple[int, int],
    slot_entry: int,
    looking: Sequence[tuple[_Found, int]],
) -> None:
    """Every cell of a frame (h, w, C) against a strip's queries (w * rows, C)."""
    tall, cells = strip[1] - strip[0], features.reshape(-1, features.shape[2])
    for x0 in range(0, features.shape[1], TILE):
        rows = slice(x0 * tall, min(x0 + TILE, features.shape[1]) * tall)
        for start in range(0, len(cells), KEY_BLOCK):
            similarity = cells[start : start + KEY_BLOCK] @ queries[rows].T
            for one, number in looking:
                kernels.scan_all(similarity, slot_entry + start, *one.tile(number, rows))


def _window(
    queries: NDArray[np.float32],
    features: NDArray[np.float32],
    strip: tuple[int, int],
    slot_entry: int,
    looking: Sequence[tuple[_Found, int]],
) -> None:
    """The widest neighbourhood in a frame (h, w, C) against a strip's queries; narrower ones scan a part of it."""
    h, w, c = features.shape
    y0, y1 = strip
    tall = y1 - y0
    widest = max(one.lane.reach for one, _ in looking)
    ky0, ky1 = max(0, y0 - widest), min(h, y1 + widest)
    keys = np.empty((w, ky1 - ky0, c), np.float32)
    kernels.pack_rows(features, ky0, ky1, keys)
    for x0 in range(0, w, TILE):
        x1 = min(x0 + TILE, w)
        rows = slice(x0 * tall, x1 * tall)
        kx0, kx1 = max(0, x0 - widest), min(w, x1 + widest)
        similarity = (keys[kx0:kx1].reshape(-1, c) @ queries[rows].T).reshape(kx1 - kx0, ky1 - ky0, -1)
        parts: dict[int, tuple[NDArray[np.float32], tuple[int, int, int, int]]] = {}
        for one, number in looking:
            reach = one.lane.reach
            if reach not in parts:
                left, right = max(0, x0 - reach), min(w, x1 + reach)
                top, bottom = max(0, y0 - reach), min(h, y1 + reach)
                part = similarity[left - kx0 : right - kx0, top - ky0 : bottom - ky0]
                flat = np.ascontiguousarray(part).reshape(-1, similarity.shape[2])
                parts[reach] = flat, (left, right, top, bottom)
            flat, window = parts[reach]
            tile = (x0, x1, y0, y1)
            kernels.scan_window(flat, tile, window, one.lane.half, w, slot_entry, *one.tile(number, rows))
