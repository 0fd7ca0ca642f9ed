"""Local top-k attention of a frame over its context, on the CPU.

The grid is cut into strips of rows, a strip into tiles. A tile's similarities to its window in one context frame are one
matrix product; a compiled scan then keeps the k best of each cell over all frames. Neither a mask nor an affinity of size
cells x context is ever held: the largest array is one tile's similarities.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.blas import one_blas_thread
from crwedge.runtime.propagation.context import StoredFrame
from crwedge.runtime.propagation.neighbourhood import half_heights, is_global
from crwedge.runtime.propagation.view import View

TILE = 8
"""Columns of a tile: narrow tiles waste less of their window, products with fewer queries run slower; 8 was fastest."""
KEY_BLOCK = 1024
"""Keys of one product, where a frame is searched everywhere."""


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalAttention:
    """Finds the k nearest context cells of each cell and gathers their labels.

    Args:
        workers: threads; by default every processor this process may use. They are started at the first call.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or cpu_count()
        self._pool: ThreadPoolExecutor | None = None

    def __call__(
        self,
        query: NDArray[np.float32],
        view: View,
        frames: Sequence[StoredFrame],
        labels: NDArray[np.float32],
        settings: PropagationSettings,
        entropy: NDArray[np.float32] | None = None,
        support: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Propagate.

        Args:
            query: (h, w, C) unit-length features of the target frame, C-contiguous.
            view: what they cover.
            frames: the context, of frames scaled to the same size.
            labels: (entries, K) soft labels of the context.
            settings: neighbourhood, k, temperature.
            entropy: (h * w,) takes the entropy of each cell's top-k weights, 0 to 1, where it is wanted.
            support: (h * w,) takes how alike each cell's neighbours are, where it is wanted: see `kernels.topk_signs`.

        Returns:
            (h * w, K) soft labels of the target frame. A cell that has no neighbour is background.
        """
        if any(frame.view.size != view.size for frame in frames):
            raise ValueError("frames of different scales cannot be compared")
        h = query.shape[0]
        out = np.empty((view.cells, labels.shape[1]), np.float32)
        job = _Job(query, view, frames, labels, settings, half_heights(settings), out, entropy, support)
        height = strip_height(h, self.workers)
        strips = [(y, min(y + height, h)) for y in range(0, h, height)]
        left = iter(strips)

        def work() -> None:
            for strip in left:  # one iterator for all threads: each takes the next strip that nobody has
                job.strip(strip)

        # One BLAS thread for each of ours: the products are small, and nested threads would fight for the processors.
        with one_blas_thread():
            helpers = min(self.workers, len(strips)) - 1
            if helpers and self._pool is None:
                self._pool = ThreadPoolExecutor(self.workers - 1, "crwedge-attention")
            helping = [self._pool.submit(work) for _ in range(helpers)] if self._pool is not None else []
            try:
                work()
            finally:
                wait(helping)
            for one in helping:
                one.result()
        return out

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class _Job:
    """One frame's attention, strip by strip; strips may run in different threads."""

    def __init__(
        self,
        query: NDArray[np.float32],
        view: View,
        frames: Sequence[StoredFrame],
        labels: NDArray[np.float32],
        settings: PropagationSettings,
        half: NDArray[np.int64],
        out: NDArray[np.float32],
        entropy: NDArray[np.float32] | None,
        support: NDArray[np.float32] | None,
    ) -> None:
        self._query, self._view, self._frames, self._labels = query, view, frames, labels
        self._settings, self._half, self._out = settings, half, out
        self._signs: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        if entropy is not None or support is not None:
            # They come from one loop; the one that nobody wants goes nowhere.
            nowhere = np.empty(view.cells, np.float32)
            self._signs = (nowhere if entropy is None else entropy, nowhere if support is None else support)
        self._reach = len(half) - 1
        self._everywhere = {
            number: np.ascontiguousarray(frame.features.reshape(frame.view.cells, -1), np.float32)
            for number, frame in enumerate(frames)
            if is_global(settings, frame.pinned)
        }

    def strip(self, rows: tuple[int, int]) -> None:
        """All cells of the rows y0..y1 against the whole context."""
        (y0, y1), (_, w, c), k = rows, self._query.shape, self._settings.topk
        height, joint = y1 - y0, self._settings.topk_over == "joint"
        kept = k if joint else k * len(self._frames)
        packed = np.empty((w, height, c), np.float32)
        kernels.pack_rows(self._query, y0, y1, packed)
        queries = packed.reshape(w * height, c)
        best = np.full((w * height, kept), -np.inf, np.float32)
        entries = np.zeros((w * height, kept), np.int64)
        weights = np.ones(kept, np.float32)
        similarity = np.empty(TILE * height * self._most_keys(height), np.float32)
        for number, frame in enumerate(self._frames):
            columns, copies = slice(0, k), frame.copies
            if not joint:
                columns = slice(number * k, (number + 1) * k)
                weights[columns], copies = copies, 1
            found = best[:, columns], entries[:, columns]
            if number in self._everywhere:
                self._scan_all(queries, height, self._everywhere[number], frame, copies, similarity, *found)
            else:
                self._scan_windows(queries, rows, frame, copies, similarity, *found)
        tau = self._settings.temperature
        kernels.gather(best, entries, weights, self._labels, tau, (w, height), (y0, w), self._out)
        if self._signs is not None:
            kernels.topk_signs(best, weights, tau, (w, height), (y0, w), *self._signs)

    def _most_keys(self, height: int) -> int:
        """The most keys that a tile is multiplied with at once."""
        local = [frame for number, frame in enumerate(self._frames) if number not in self._everywhere]
        window = [
            min(f.view.grid[0], height + 2 * self._reach) * min(f.view.grid[1], TILE + 2 * self._reach) for f in local
        ]
        return max(KEY_BLOCK if self._everywhere else 0, *window, 1) if window else KEY_BLOCK

    def _scan_all(
        self,
        queries: NDArray[np.float32],
        height: int,
        keys: NDArray[np.float32],
        frame: StoredFrame,
        copies: int,
        similarity: NDArray[np.float32],
        best: NDArray[np.float32],
        entries: NDArray[np.int64],
    ) -> None:
        for x0 in range(0, self._view.grid[1], TILE):
            rows = slice(x0 * height, min(x0 + TILE, self._view.grid[1]) * height)
            for start in range(0, len(keys), KEY_BLOCK):
                found = _product(keys[start : start + KEY_BLOCK], queries[rows], similarity)
                kernels.scan_all(found, frame.first_entry + start, copies, best[rows], entries[rows])

    def _scan_windows(
        self,
        queries: NDArray[np.float32],
        strip: tuple[int, int],
        frame: StoredFrame,
        copies: int,
        similarity: NDArray[np.float32],
        best: NDArray[np.float32],
        entries: NDArray[np.int64],
    ) -> None:
        # From here on in cells of the key frame's own grid: windows are the same in frame coordinates.
        (kh, kw), (h, c) = frame.view.grid, (strip[1] - strip[0], queries.shape[1])
        down = self._view.origin[0] - frame.view.origin[0]
        right = self._view.origin[1] - frame.view.origin[1]
        y0, y1 = strip[0] + down, strip[1] + down
        ky0, ky1 = max(0, y0 - self._reach), min(kh, y1 + self._reach)
        if ky0 >= ky1:
            return
        keys = np.empty((kw, ky1 - ky0, c), np.float32)
        if frame.features.dtype == np.float16:
            kernels.pack_rows_half(frame.features.view(np.uint16), ky0, ky1, keys)
        else:
            kernels.pack_rows(np.asarray(frame.features, np.float32), ky0, ky1, keys)
        w = self._view.grid[1]
        for left in range(0, w, TILE):
            rows = slice(left * h, min(left + TILE, w) * h)
            x0, x1 = left + right, min(left + TILE, w) + right
            kx0, kx1 = max(0, x0 - self._reach), min(kw, x1 + self._reach)
            if kx0 >= kx1:
                continue
            found = _product(keys[kx0:kx1].reshape(-1, c), queries[rows], similarity)
            window = kx0, kx1, ky0, ky1
            kernels.scan_window(
                found, (x0, x1, y0, y1), window, self._half, kw, frame.first_entry, copies, best[rows], entries[rows]
            )


def strip_height(h: int, workers: int) -> int:
    """Rows of a strip: near the tile's side, such that the strips fill all workers evenly."""
    candidates = range(min(h, 8), min(h, 16) + 1)

    def cost(height: int) -> float:
        rounds = math.ceil(math.ceil(h / height) / workers)
        # The window of a strip is about 22 rows higher than the strip itself, whatever its height.
        return rounds * height * (height + 22) + 0.001 * abs(height - 12)

    return min(candidates, key=cost)


def _product(keys: NDArray[np.float32], queries: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """(keys, C) x (q, C)^T into the front of the flat scratch array `out`.

    Keys down the rows: the products run a fifth faster so, and a scan compares one key with all queries of a tile at once.
    """
    view = out[: keys.shape[0] * queries.shape[0]].reshape(keys.shape[0], queries.shape[0])
    return np.matmul(keys, queries.T, out=view)
