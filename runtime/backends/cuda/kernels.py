"""The kernels of one device and one protocol, ready to launch on device memory."""

from __future__ import annotations

import itertools
from ctypes import Structure
from dataclasses import dataclass

import numpy as np

from crwedge.core.labels import linear_taps
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda import params
from crwedge.runtime.backends.cuda.driver import Arena, Driver
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.plan import Plan, attend_bytes, make_plan
from crwedge.runtime.backends.cuda.source import Variant, choose_variant

_THREADS = 256
_PACK = 32
_SPREAD_BLOCKS = 64
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Memory:
    """Device addresses that the kernels of a step share."""

    features: int
    """(slots, cells, channels) float16."""
    labels: int
    """(slots, cells, K) float32."""
    latest: int
    """(cells, K) float32: the labels of the last frame, in a place that does not move with the ring."""
    table: int
    """See `plan.context_table`."""
    live: int
    """(cells, words) uint32: which labels of the last frame are above zero."""


class Kernels:
    """Compiled for the driver's device, sized for one grid."""

    def __init__(
        self, driver: Driver, settings: PropagationSettings, grid: tuple[int, int], channels: int,
        variant: Variant | None = None, shares: int | None = None,
    ) -> None:  # fmt: skip
        """Compile, or read from the cache, and take scratch memory.

        Args:
            driver: the device.
            settings: the protocol.
            grid: (h, w) in cells.
            channels: C of the features.
            variant: how to compile; by default what suits the device.
            shares: see `make_plan`.
        """
        self.driver, self.settings, self.channels = driver, settings, channels
        self.plan = self._plan(settings, grid, variant, shares)
        self._arena = Arena(driver)
        self._modules = {name: driver.load(name, self.plan.variant) for name in ("attention.cu", "frames.cu")}
        self._kernels: dict[tuple[str, int], object] = {}
        cells, k, plan = self.plan.cells, self.plan.k, self.plan
        self.partial = self._arena("partial", cells * plan.shares * k * 8)
        self.floor = self._arena("floor", cells * 8)
        self.broken = self._arena("broken", 4)
        self.half = self._arena("half", max(4, plan.half.nbytes))
        if plan.half.size:
            driver.upload(self.half, plan.half, 0)
        driver.fill(self.broken, 0, 4, 0)
        driver.fill(self.floor, 0, cells * 8, 0)
        driver.synchronise(0)
        self._taps_of: tuple[int, int] | None = None
        self._spread_from = 0
        self.number = next(_NUMBERS)
        """Of no other kernels in this process."""

    @property
    def nbytes(self) -> int:
        """Scratch memory on the device."""
        return self._arena.nbytes

    @property
    def version(self) -> int:
        """Another number whenever an address of the scratch memory has changed."""
        return self._arena.version

    def pack(self, source: int, memory: Memory, stream: int) -> None:
        """Features (C, cells) float32 at `source` go to the table's query slot; the floor starts anew."""
        cells = self.plan.cells
        values = params.Pack(source, memory.features, memory.table, self.floor, self.broken, self.channels, cells)
        grid = -(-cells // _PACK), -(-self.channels // _PACK)
        self._launch("frames.cu", "pack", grid, _THREADS, _PACK * (_PACK + 1) * 4, values, stream)

    def attend(self, memory: Memory, stream: int) -> None:
        """The nearest k of every cell, for each share of the keys."""
        plan = self.plan
        (h, w), reach = plan.grid, len(plan.half) - 1
        values = params.Attend(
            memory.features, memory.table, self.half, self.partial, self.floor,
            h, w, self.channels, reach, plan.k, plan.shares, plan.joint, plan.window_rows,
        )  # fmt: skip
        grid = plan.tiles, plan.shares
        self._launch("attention.cu", "attend", grid, plan.variant.threads, plan.attend_shared, values, stream)

    def settle(self, memory: Memory, count: int, stream: int) -> None:
        """Soft labels of the query slot, from what `attend` found."""
        plan, words = self.plan, words_of(count)
        values = params.Settle(
            self.partial, memory.table, memory.labels, memory.latest, memory.live,
            plan.cells, count, words, plan.shares, plan.k, plan.joint, 1 / self.settings.temperature,
        )  # fmt: skip
        self._launch("attention.cu", "settle", (plan.settle_blocks, 1), 128, plan.settle_bytes(words), values, stream)

    def paint(
        self,
        memory: Memory,
        ids: int,
        out: int,
        count: int,
        size: tuple[int, int],
        stream: int,
        stretched: bool = False,
    ) -> None:
        """Ids (H, W) uint8 at `out` from the labels of the last frame; `ids` are the labels' ids on the device."""
        height, width = size
        self.prepare_paint(size, count if stretched else 0)
        taps = [self._arena(name, 0) for name in ("y_low", "y_high", "x_low", "x_high", "y_part", "x_part")]
        extent = self._arena("range", 0) if stretched else 0
        values = params.Paint(
            memory.latest, memory.live, *taps, ids, extent, out,
            *self.plan.grid, count, words_of(count), height, width,
        )  # fmt: skip
        if stretched:
            self.driver.copy(extent, self._arena("range_start", 0), count * 8, stream)
            self._launch("frames.cu", "spread", (_SPREAD_BLOCKS, count), _THREADS, _THREADS * 8, values, stream)
        self._launch("frames.cu", "paint", (-(-height * width // _THREADS), 1), _THREADS, 0, values, stream)

    def prepare_paint(self, size: tuple[int, int], stretched: int = 0) -> None:
        """Put the taps of the resize to `size` on the device. Not to be recorded in a graph, so call it before.

        `stretched` is the number of labels where each one's map is stretched, else 0.
        """
        if stretched > self._spread_from:
            start = np.tile(np.array([0xFFFFFFFF, 0], np.uint32), stretched)
            self._arena("range", start.nbytes)
            self.driver.upload(self._arena("range_start", start.nbytes), start, 0)
            self.driver.synchronise(0)
            self._spread_from = stretched
        if self._taps_of == size:
            return
        for axis, length, cells in (("y", size[0], self.plan.grid[0]), ("x", size[1], self.plan.grid[1])):
            low, high, part = linear_taps(length, cells)
            for name, values in (("low", low.astype(np.int32)), ("high", high.astype(np.int32)), ("part", part)):
                self.driver.upload(self._arena(f"{axis}_{name}", values.nbytes), np.ascontiguousarray(values), 0)
                self.driver.synchronise(0)
        self._taps_of = size

    def close(self) -> None:
        """Give the scratch memory back."""
        self._arena.clear()

    def _plan(
        self, settings: PropagationSettings, grid: tuple[int, int], variant: Variant | None, shares: int | None
    ) -> Plan:
        facts = self.driver.facts
        wanted = variant or choose_variant(facts.capability, self.channels)
        # A tall tile reads fewer keys; where its lists do not fit the shared memory, tiles are made lower.
        for candidate in (wanted, Variant(wanted.tensor, wanted.channels, 2), Variant(False, wanted.channels, 2)):
            plan = make_plan(settings, candidate, grid, facts.processors, shares)
            if plan.attend_shared <= facts.shared_bytes:
                return plan
        need = attend_bytes(plan.variant, plan.k, plan.window_rows)
        raise DeviceError(
            f"{facts.name} has {facts.shared_bytes} bytes of shared memory a block and topk {plan.k} needs {need}; "
            "use a smaller --topk, or --engine cpu"
        )

    def _launch(
        self,
        source: str,
        name: str,
        grid: tuple[int, int],
        threads: int,
        shared: int,
        values: Structure,
        stream: int,
    ) -> None:
        key = name, shared
        if key not in self._kernels:
            self._kernels[key] = self.driver.kernel(self._modules[source], name, shared)
        self.driver.launch(self._kernels[key], grid, threads, shared, values, stream)


def words_of(count: int) -> int:
    """32-bit words that hold one bit for each of `count` labels."""
    return -(-count // 32)
