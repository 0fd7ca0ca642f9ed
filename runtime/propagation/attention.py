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
from crwedge.runtime.processors import share
from crwedge.runtime.propagation import kernels
from crwedge.runtime.propagation.blas import one_blas_thread
from crwedge.runtime.propagation.context import ContextFrame
from crwedge.runtime.propagation.neighbourhood import half_heights, is_global

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
        settings: neighbourhood, k, temperature.
        workers: threads; by default every processor this process may use.
    """

    def __init__(self, settings: PropagationSettings, workers: int | None = None) -> None:
        """Threads are started at the first call."""
        self.settings = settings
        self.workers = workers or cpu_count()
        self._half = half_heights(settings)
        self._pool: ThreadPoolExecutor | None = None
        self.measure = False
        """Whether `spread` is to be filled at each call."""
        self.spread: NDArray[np.float32] | None = None
        """(h * w,) entropy of each cell's top-k weights at the last call, 0 to 1."""

    def __call__(
        self, query: NDArray[np.float32], frames: Sequence[ContextFrame], labels: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Propagate.

        Args:
            query: (h, w, C) unit-length features of the target frame, C-contiguous.
            frames: the context.
            labels: (slots * h * w, K) soft labels of the context.

        Returns:
            (h * w, K) soft labels of the target frame.
        """
        h, w, _ = query.shape
        out = np.empty((h * w, labels.shape[1]), np.float32)
        self.spread = np.empty(h * w, np.float32) if self.measure else None
        everywhere = {
            id(f): np.ascontiguousarray(f.features.reshape(h * w, -1), np.float32)
            for f in frames
            if is_global(self.settings, f)
        }
        tall = strip_height(h, self.workers)
        strips = [(y, min(y + tall, h)) for y in range(0, h, tall)]

        # Strips are cut for all workers, so that the results do not depend on how many are free at the moment.
        left = iter(strips)

        def work() -> None:
            for strip in left:  # one iterator for all threads: each takes the next strip that nobody has
                self._strip(query, strip, frames, everywhere, labels, out)

        # One BLAS thread for each of ours: the products are small, and nested threads would fight for the processors.
        with one_blas_thread():
            helpers = min(share(self.workers), len(strips)) - 1
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

    def _strip(
        self,
        query: NDArray[np.float32],
        strip: tuple[int, int],
        frames: Sequence[ContextFrame],
        everywhere: dict[int, NDArray[np.float32]],
        labels: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> None:
        """All cells of the rows y0..y1 against the whole context."""
        h, w, c = query.shape
        y0, y1 = strip
        tall, k = y1 - y0, self.settings.topk
        joint = self.settings.topk_over == "joint"
        kept = k if joint else k * len(frames)
        packed = np.empty((w, tall, c), np.float32)
        kernels.pack_rows(query, y0, y1, packed)
        queries = packed.reshape(w * tall, c)
        best = np.full((w * tall, kept), -np.inf, np.float32)
        entries = np.zeros((w * tall, kept), np.int64)
        weights = np.ones(kept, np.float32)
        reach = len(self._half) - 1
        ky0, ky1 = max(0, y0 - reach), min(h, y1 + reach)
        keys = np.empty((w, ky1 - ky0, c), np.float32) if len(everywhere) < len(frames) else None
        similarity = np.empty(TILE * tall * max(KEY_BLOCK, min(w, TILE + 2 * reach) * (ky1 - ky0)), np.float32)
        for number, frame in enumerate(frames):
            copies = frame.copies
            columns = slice(0, k)
            if not joint:
                columns = slice(number * k, (number + 1) * k)
                weights[columns], copies = copies, 1
            slot_entry = frame.slot * h * w
            cells = everywhere.get(id(frame))
            if cells is None:
                assert keys is not None
                if frame.features.dtype == np.float16:
                    kernels.pack_rows_half(frame.features.view(np.uint16), ky0, ky1, keys)
                else:
                    kernels.pack_rows(np.asarray(frame.features, np.float32), ky0, ky1, keys)
            for x0 in range(0, w, TILE):
                x1 = min(x0 + TILE, w)
                rows = slice(x0 * tall, x1 * tall)
                tile, tile_best, tile_entries = queries[rows], best[rows, columns], entries[rows, columns]
                if cells is not None:
                    for start in range(0, h * w, KEY_BLOCK):
                        found = _product(cells[start : start + KEY_BLOCK], tile, similarity)
                        kernels.scan_all(found, slot_entry + start, copies, tile_best, tile_entries)
                else:
                    assert keys is not None
                    kx0, kx1 = max(0, x0 - reach), min(w, x1 + reach)
                    found = _product(keys[kx0:kx1].reshape(-1, c), tile, similarity)
                    kernels.scan_window(
                        found,
                        (x0, x1, y0, y1),
                        (kx0, kx1, ky0, ky1),
                        self._half,
                        w,
                        slot_entry,
                        copies,
                        tile_best,
                        tile_entries,
                    )
        kernels.gather(best, entries, weights, labels, self.settings.temperature, (w, tall), (y0, w), out)
        if self.spread is not None:
            kernels.spread(best, weights, self.settings.temperature, (w, tall), (y0, w), self.spread)


def strip_height(h: int, workers: int) -> int:
    """Rows of a strip: near the tile's side, such that the strips fill all workers evenly."""
    candidates = range(min(h, 8), min(h, 16) + 1)

    def cost(tall: int) -> float:
        rounds = math.ceil(math.ceil(h / tall) / workers)
        # The window of a strip is about 22 rows taller than the strip itself, whatever its height.
        return rounds * tall * (tall + 22) + 0.001 * abs(tall - 12)

    return min(candidates, key=cost)


def _product(keys: NDArray[np.float32], queries: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """(keys, C) x (q, C)^T into the front of the flat scratch array `out`.

    Keys down the rows: the products run a fifth faster so, and a scan compares one key with all queries of a tile at once.
    """
    view = out[: keys.shape[0] * queries.shape[0]].reshape(keys.shape[0], queries.shape[0])
    return np.matmul(keys, queries.T, out=view)
