"""Label propagation on a device: the context stays there, soft labels and ids come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.cuda.driver import Arena, Driver
from crwedge.runtime.cuda.kernels import Kernels, Memory, words_of
from crwedge.runtime.cuda.plan import context_table
from crwedge.runtime.cuda.slots import Slots
from crwedge.runtime.cuda.source import Variant


@dataclass(frozen=True, eq=False)
class DeviceFeatures:
    """Features of one frame in device memory, until the engine runs again."""

    driver: Driver
    address: int
    """(C, h, w) float32, unit length over C."""
    shape: tuple[int, int, int]
    stream: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        """A copy on the host."""
        host = np.empty(self.shape, np.float32)
        self.driver.download(host, self.address, self.stream)
        self.driver.synchronise(self.stream)
        return host if dtype is None else host.astype(dtype)


class DevicePropagator:
    """Context and propagation of one video on one device.

    It does the work of `ContextBuffer`, `LabelPropagator` and `labels_to_ids`; everything is queued on one stream and
    waited for when a result is read.
    """

    def __init__(
        self, driver: Driver, settings: PropagationSettings, stream: int | None = None, variant: Variant | None = None,
        shares: int | None = None, graph: bool = True,
    ) -> None:  # fmt: skip
        """Memory is taken when the first frame tells the sizes.

        Args:
            driver: the device.
            settings: the protocol; features are stored in float16 whatever `storage` says.
            stream: the queue to use, that of the engine; by default one of its own.
            variant: how the kernels are compiled; by default what suits the device.
            shares: blocks that share a tile's keys; by default what fills the device.
            graph: record the kernels of a step once and launch them together.
        """
        self.driver, self.settings = driver, settings
        self.stream = driver.stream() if stream is None else stream
        self.slots = Slots(settings)
        self._variant, self._shares, self._use_graph = variant, shares, graph
        self._arena = Arena(driver)
        self._kernels: Kernels | None = None
        self._graphs: dict[tuple[int, ...], int] = {}
        self._count = 0
        self._shape = (0, 0, 0)
        self._picture: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._last: tuple[object, NDArray[np.float32]] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to look back at yet."""
        return self.slots.empty

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the stored features."""
        return self._shape[1], self._shape[2]

    @property
    def channels(self) -> int:
        """C of the stored features."""
        return self._shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of device memory: the rings and the scratch of the kernels."""
        return self._arena.nbytes + (self._kernels.nbytes if self._kernels else 0)

    def propagate(self, features: NDArray[np.float32] | DeviceFeatures) -> NDArray[np.float32]:
        """Soft labels (K, h, w) float32 of a frame from its features (C, h, w); the context is not changed.

        Raises:
            CrwedgeError: the features are not finite, or their shape is not the context's.
            DeviceError: the device failed.
        """
        if features.shape != self._shape:
            raise CrwedgeError(f"features of shape {features.shape} do not fit a context of {self._shape}")
        kernels, memory = self._ready(), self._memory()
        source = self._source(features)
        self._tell(self.slots.context(), self.slots.query)
        key = (source, self._count, memory.labels)
        if key not in self._graphs and self._use_graph:
            self.driver.begin_capture(self.stream)
            self._queue(kernels, memory, source)
            self._graphs = {key: self.driver.end_capture(self.stream)}
        if self._use_graph:
            self.driver.launch_graph(self._graphs[key], self.stream)
        else:
            self._queue(kernels, memory, source)
        self.driver.synchronise(self.stream)
        if self._broken[0]:
            self.driver.fill(kernels.broken, 0, 4, self.stream)
            raise CrwedgeError(
                "the encoder gave features that are not finite; its weights are damaged or too large for its precision "
                "(export the bundle again, or use --engine cpu with a float32 bundle)"
            )
        soft = np.ascontiguousarray(self._soft.T).reshape(-1, *self.grid)
        self._last = features, soft
        return soft

    def pin(self, features: NDArray[np.float32] | DeviceFeatures, soft: NDArray[np.float32]) -> None:
        """Keep a frame for good: features (C, h, w), soft labels (K, h, w). The first one fixes all sizes."""
        if self.slots.empty:
            self._start((features.shape[0], features.shape[1], features.shape[2]), soft.shape[0])
        self._store(self.slots.pin(), features, soft)
        self._last = None

    def append(self, features: NDArray[np.float32] | DeviceFeatures, soft: NDArray[np.float32]) -> None:
        """Push a frame into the ring; what `propagate` has just computed is there already."""
        if self._last is None or self._last[0] is not features or self._last[1] is not soft:
            self._store(self.slots.query, features, soft)
        self.slots.push()
        self._last = None

    def grow_labels(self, count: int) -> None:
        """Make room for `count` labels; the new ones are zero everywhere."""
        if count <= self._count:
            return
        cells, slots = self.grid[0] * self.grid[1], self.slots.count
        have = np.empty((slots, cells, self._count), np.float32)
        self.driver.download(have, self._arena("labels", 0), self.stream)
        self.driver.synchronise(self.stream)
        wider = np.zeros((slots, cells, count), np.float32)
        wider[:, :, : self._count] = have
        self._set_count(count)
        self.driver.upload(self._arena("labels", wider.nbytes), wider, self.stream)
        self.driver.synchronise(self.stream)

    def ids(self, object_ids: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Ids (H, W) of the frame last labelled or pinned: linear resize of its soft labels, then the argmax."""
        kernels = self._ready()
        table = np.array((0, *object_ids), np.uint8)
        ids, out = self._arena("ids", 256), self._arena("out", size[0] * size[1])
        if self._picture.shape != size:
            self._picture = self.driver.pinned(size, np.uint8)
        self.driver.upload(ids, table, self.stream)
        stretched = self.settings.output_norm == "minmax"
        kernels.paint(self._memory(), ids, out, self._count, size, self.stream, stretched)
        self.driver.download(self._picture, out, self.stream)
        self.driver.synchronise(self.stream)
        return self._picture.copy()

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        self.slots.clear()
        self._arena.clear()
        if self._kernels is not None:
            self._kernels.close()
        self._kernels, self._graphs, self._last = None, {}, None

    close = clear

    def _start(self, shape: tuple[int, int, int], count: int) -> None:
        channels, h, w = self._shape = shape
        self._kernels = Kernels(self.driver, self.settings, (h, w), channels, self._variant, self._shares)
        frames, cells = self.slots.count, h * w
        self._arena("features", frames * cells * channels * 2)
        self._arena("source", channels * cells * 4)
        self._most_frames = frames + 1
        self._table = self.driver.pinned((4 + 4 * self._most_frames,), np.int32)
        self._arena("table", self._table.nbytes)
        self._broken = self.driver.pinned((1,), np.int32)
        self._set_count(count)
        labels = self._arena("labels", 0)
        self.driver.fill(labels, 0, frames * cells * count * 4, self.stream)

    def _set_count(self, count: int) -> None:
        cells, self._count = self.grid[0] * self.grid[1], count
        self._arena("labels", self.slots.count * cells * count * 4)
        self._arena("latest", cells * count * 4)
        self._arena("live", cells * words_of(count) * 4)
        self._soft = self.driver.pinned((cells, count), np.float32)
        self._graphs = {}

    def _memory(self) -> Memory:
        return Memory(*(self._arena(name, 0) for name in ("features", "labels", "latest", "table", "live")))

    def _ready(self) -> Kernels:
        if self._kernels is None:
            raise CrwedgeError("there is no context yet: pin the first frame")
        return self._kernels

    def _queue(self, kernels: Kernels, memory: Memory, source: int) -> None:
        """Everything of a step that is the same for every frame: what differs is in the table."""
        driver = self.driver
        driver.upload(memory.table, self._table, self.stream)
        kernels.pack(source, memory, self.stream)
        kernels.attend(memory, self.stream)
        kernels.settle(memory, self._count, self.stream)
        driver.download(self._soft, memory.latest, self.stream)
        driver.download(self._broken, kernels.broken, self.stream)

    def _tell(self, frames: list[tuple[int, bool, int]], query: int) -> None:
        self._table[:] = context_table(frames, query, self._most_frames)

    def _source(self, features: NDArray[np.float32] | DeviceFeatures) -> int:
        """The device address of a frame's features; those of the host are queued to be copied."""
        if isinstance(features, DeviceFeatures):
            return features.address
        self._staged = np.ascontiguousarray(features, np.float32)
        source = self._arena("source", self._staged.nbytes)
        self.driver.upload(source, self._staged, self.stream)
        return source

    def _store(self, slot: int, features: NDArray[np.float32] | DeviceFeatures, soft: NDArray[np.float32]) -> None:
        """Put a frame into a slot, and its labels where they are read from for the output."""
        kernels, memory = self._ready(), self._memory()
        cells = self.grid[0] * self.grid[1]
        rows = np.zeros((cells, self._count), np.float32)
        rows[:, : soft.shape[0]] = soft.reshape(soft.shape[0], -1).T
        self._tell([], slot)
        self.driver.upload(memory.table, self._table, self.stream)
        kernels.pack(self._source(features), memory, self.stream)
        live = live_words(rows)
        for address, values in (
            (memory.labels + slot * rows.nbytes, rows), (memory.latest, rows), (memory.live, live),
        ):  # fmt: skip
            self.driver.upload(address, values, self.stream)
        self.driver.synchronise(self.stream)


def live_words(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    """(cells, words): bit c % 32 of word c // 32 is set where label c of (cells, K) is above zero."""
    cells, count = rows.shape
    bits = np.zeros((cells, words_of(count) * 32), np.bool_)
    bits[:, :count] = rows > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")
