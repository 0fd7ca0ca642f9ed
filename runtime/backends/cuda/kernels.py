"""The kernels of one device, launched on device memory."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda import params
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.memory import DeviceMemory
from crwedge.runtime.backends.cuda.plan import Plan, make_plan, merge_blocks, merge_bytes
from crwedge.runtime.backends.cuda.source import Variant, choose_variant
from crwedge.runtime.propagation.neighbourhood import half_heights
from crwedge.runtime.propagation.view import Size, View

_THREADS = 256
_SQUARE = 32
_RANGE_BLOCKS = 64
_PLAIN = Variant(False)


@dataclass(frozen=True)
class KeyFrame:
    """One frame of the context, as the attention reads it."""

    features: int
    """Device address of (h * w, C) float16."""
    labels: int
    """Device address of (h * w, K) float32."""
    view: View
    copies: int
    is_global: bool
    """Whether it is searched everywhere rather than in the neighbourhood."""


@dataclass(frozen=True)
class LabelMemory:
    """Device addresses of one frame's soft labels."""

    labels: int
    """(h * w, K) float32."""
    bitmask: int
    """(h * w, bitmask_words) uint32: which labels are above zero."""
    count: int
    """K."""


class Kernels:
    """Launches on the memory's stream. Kernels are compiled, or read from the cache, when they are first used.

    Args:
        memory: the device and its scratch memory.
        variant: how the attention is compiled; by default what suits the device and the features.
        key_splits: see `make_plan`.
    """

    def __init__(self, memory: DeviceMemory, variant: Variant | None = None, key_splits: int | None = None) -> None:
        self.memory, self.driver, self.stream = memory, memory.driver, memory.stream
        self._variant, self._key_splits = variant, key_splits
        self._kernels: dict[tuple[str, Variant], object] = {}

    def resize(self, source: int, source_size: Size, target: int, view: View) -> None:
        """RGB uint8 (H, W, 3) to the pixels of a view, as `View.pixels` does it."""
        rows, columns = view.box
        height, width = view.pixel_size
        values = params.Resize(source, target, *source_size, *view.size, rows.start, columns.start, height, width)
        self._launch("frames.cu", "resize", (-(-height * width // _THREADS), 1), values)

    def store_features(self, source: int, given: View, target: int, not_finite: int, channels: int, view: View) -> None:
        """The part of `view` of features (C, cells) float32, which cover `given`, to (cells, C) float16.

        The int32 at `not_finite` becomes 1 where one is not finite.
        """
        self.driver.fill(not_finite, 0, 4, self.stream)
        y, x = (own - first for own, first in zip(view.origin, given.origin, strict=True))
        width, cells = given.grid[1], view.cells
        values = params.StoreFeatures(
            source, target, not_finite, channels, cells, view.grid[1], given.cells, width, y * width + x
        )
        grid = -(-cells // _SQUARE), -(-channels // _SQUARE)
        self._launch("frames.cu", "store_features", grid, values, _SQUARE * (_SQUARE + 1) * 4)

    def propagate(
        self,
        query: int,
        view: View,
        channels: int,
        frames: Sequence[KeyFrame],
        settings: PropagationSettings,
        out: LabelMemory,
        entropy: int = 0,
        support: int = 0,
    ) -> None:
        """Soft labels of a frame from its context.

        Args:
            query: address of its features (h * w, C) float16.
            view: what they cover.
            channels: C.
            frames: the context; of equal similarities the frame named first wins.
            settings: neighbourhood, k and temperature.
            out: takes the labels.
            entropy: address for (h * w) float32 entropies of the top-k weights, 0 to 1; 0 for none.
            support: address for (h * w) float32, see `Prediction.support`; 0 for none.
        """
        plan = self._plan(settings, channels, view, [frame.view for frame in frames])
        joint, k, cells = settings.topk_over == "joint", settings.topk, view.cells
        half = half_heights(settings).astype(np.int32)
        entries = [
            params.ContextFrame(f.features, f.labels, *f.view.grid, *f.view.origin, f.copies, f.is_global)
            for f in frames
        ]
        table = np.frombuffer(b"".join(map(bytes, entries)), np.uint8)
        # Sent together, as each copy from the host waits for the encoder.
        step = np.concatenate([table, half.view(np.uint8)])
        table_at = self.memory.scratch("step", step.nbytes)
        self.driver.upload(table_at, step, self.stream)
        partial = self.memory.scratch("partial", cells * plan.key_splits * k * 8)
        kth_bound = self.memory.scratch("kth_bound", cells * 8)
        self.driver.fill(kth_bound, 0, cells * 8, self.stream)
        attention = params.TopkAttention(
            query, table_at, table_at + table.nbytes, partial, kth_bound, *view.grid, *view.origin, *plan.box,
            len(frames), plan.frame_cells, channels, len(half) - 1, k, plan.key_splits, joint, plan.window_rows,
        )  # fmt: skip
        grid = plan.tiles, plan.key_splits
        self._launch(
            "attention.cu", "topk_attention", grid, attention, plan.attention_bytes, plan.variant.threads, plan.variant
        )
        words = bitmask_words(out.count)
        merge = params.MergeTopk(
            partial, table_at, out.labels, out.bitmask, entropy, support, cells, out.count, words, plan.key_splits, k, joint,
            plan.frame_cells, 1 / settings.temperature,
        )  # fmt: skip
        shared = merge_bytes(k, plan.key_splits, joint, words)
        self._launch("attention.cu", "merge_topk", (merge_blocks(cells), 1), merge, shared, 128, plan.variant)

    def upsample_argmax(
        self, soft: LabelMemory, view: View, object_ids: Sequence[int], size: Size, stretch: bool
    ) -> NDArray[np.uint8]:
        """Ids (H, W) of a frame of `size` from its soft labels, on the host; the background outside the view."""
        height, width = size
        rows, columns = view.frame_box(size)
        box = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        ids = self.memory.scratch("ids", 256)
        self.driver.upload(ids, np.array((0, *object_ids), np.uint8), self.stream)
        out = self.memory.scratch("out", height * width)
        self.driver.fill(out, 0, height * width, self.stream)
        extent = self.memory.scratch("range", soft.count * 8) if stretch else 0
        values = params.Upsample(
            soft.labels, soft.bitmask, ids, extent, out, *view.grid, *view.origin, *grid_size(*view.size),
            soft.count, bitmask_words(soft.count), height, width, *box,
        )  # fmt: skip
        if stretch:
            self.driver.upload(extent, np.tile(np.array([0xFFFFFFFF, 0], np.uint32), soft.count), self.stream)
            self._launch("frames.cu", "label_range", (_RANGE_BLOCKS, soft.count), values, _THREADS * 8)
        if pixels := box[2] * box[3]:
            self._launch("frames.cu", "upsample_argmax", (-(-pixels // _THREADS), 1), values)
        found = np.empty(size, np.uint8)
        self.driver.download(found, out, self.stream)
        return found

    def _plan(self, settings: PropagationSettings, channels: int, view: View, frames: Sequence[View]) -> Plan:
        facts = self.driver.facts
        wanted = self._variant or choose_variant(facts.capability, channels)
        # A high tile reads fewer keys; where its lists do not fit the shared memory, tiles are made lower.
        for variant in (wanted, Variant(wanted.tensor, wanted.channels, 2), Variant(False, wanted.channels, 2)):
            plan = make_plan(settings, variant, view, frames, facts.processors, self._key_splits)
            if plan.attention_bytes <= facts.shared_bytes:
                return plan
        raise DeviceError(
            f"{facts.name} has {facts.shared_bytes} bytes of shared memory a block and topk {settings.topk} needs "
            f"{plan.attention_bytes}; use a smaller topk, or --engine cpu"
        )

    def _launch(
        self,
        source: str,
        name: str,
        grid: tuple[int, int],
        values: Structure,
        shared: int = 0,
        threads: int = _THREADS,
        variant: Variant = _PLAIN,
    ) -> None:
        key = name, variant
        if key not in self._kernels:
            self._kernels[key] = self.driver.kernel(self.driver.load(source, variant), name)
        self.driver.launch(self._kernels[key], grid, threads, shared, values, self.stream)


def bitmask_words(count: int) -> int:
    """32-bit words that hold one bit for each of `count` labels."""
    return -(-count // 32)


def label_bitmask(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    """(cells, words): bit c % 32 of word c // 32 is set where label c of (cells, K) is above zero."""
    cells, count = rows.shape
    bits = np.zeros((cells, bitmask_words(count) * 32), np.bool_)
    bits[:, :count] = rows > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")
