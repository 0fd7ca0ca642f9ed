"""Label propagation on a device: the context stays there, soft labels and ids come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.driver import Arena, Driver
from crwedge.runtime.backends.cuda.errors import quiet_when_lost
from crwedge.runtime.backends.cuda.features import DeviceFeatures
from crwedge.runtime.backends.cuda.graphs import Graphs
from crwedge.runtime.backends.cuda.kernels import Kernels, Memory, words_of
from crwedge.runtime.backends.cuda.plan import context_table
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.neighbourhood import is_global


class DevicePropagator(ContextBuffer):
    """Context and propagation of one video on one device.

    It is a `ContextBuffer` whose frames lie in device memory, in float16 whatever `storage` says: which slot holds what is
    decided there, and the arrays it keeps on the host are never touched, so they take no memory. One slot more than the
    context has is for the frame being labelled: when that frame joins the context, its slot and a free one change places in
    a list, and nothing is copied. It does the work of `LabelPropagator` and `labels_to_ids` too; everything is queued on one
    stream and waited for when a result is read.

    A step is one CUDA graph: the encoder where it can be recorded, propagation, the label map of the size and the ids that
    were asked for last, and the copies to the host. What changes from step to step is in the table, which the graph copies
    from pinned memory, so the same graph serves every step, whether or not the ring is full.
    """

    def __init__(
        self,
        driver: Driver,
        settings: PropagationSettings,
        stream: int | None = None,
        variant: Variant | None = None,
        shares: int | None = None,
        graph: bool = True,
        say: Callable[[str], None] = lambda _: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Memory is taken when the first frame tells the sizes.

        Args:
            driver: the device.
            settings: the protocol.
            stream: the queue to use, that of the engine; by default one of its own.
            variant: how the kernels are compiled; by default what suits the device.
            shares: blocks that share a tile's keys; by default what fills the device.
            graph: record the kernels of a step once and launch them together.
            say: told, in one line, when they cannot be recorded.
            meanwhile: called in each `propagate`, after everything is queued and before the host waits for it.
        """
        super().__init__(settings.context_length, settings.max_pinned, "float16", settings.prefill)
        self.driver, self.settings = driver, settings
        self.stream = driver.stream() if stream is None else stream
        self.slots = settings.max_pinned + settings.context_length + 1
        self._variant, self._shares, self._meanwhile = variant, shares, meanwhile
        self._arena = Arena(driver, self.stream)
        self._pinned_arrays: dict[str, NDArray[Any]] = {}
        self._kernels: dict[PropagationSettings, Kernels] = {}
        self._whole = Graphs(driver, self.stream, "the encoder is", say, graph)
        self._graphs = Graphs(driver, self.stream, "propagation is", say, graph)
        self._count = 0
        self._shape = (0, 0, 0)
        self._places = list(range(self.slots))
        self._asked: tuple[tuple[int, ...], tuple[int, int]] | None = None
        self._painted = False
        self._last: tuple[object, NDArray[np.float32]] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of device memory: the rings and the scratch of the kernels."""
        return self._arena.nbytes + sum(kernels.nbytes for kernels in self._kernels.values())

    def propagate(
        self, features: NDArray[np.float32] | DeviceFeatures, settings: PropagationSettings | None = None
    ) -> NDArray[np.float32]:
        """Soft labels (K, h, w) float32 of a frame from its features (C, h, w); the context is not changed.

        Args:
            features: of the host, or of an engine on this device.
            settings: another neighbourhood, k or temperature than the propagator's own, for this frame alone.

        Raises:
            CrwedgeError: the features are not finite, or their shape is not the context's.
            DeviceError: the device failed.
        """
        if features.shape != self._shape:
            raise CrwedgeError(f"features of shape {features.shape} do not fit a context of {self._shape}")
        settings = settings or self.settings
        kernels, memory = self._ready(settings), self._memory()
        self.tell(self._query, settings)
        self._last, self._painted = None, False
        if self._asked is not None:
            self._prepare_paint(self._asked[1])
        self._start_step(features, kernels, memory)
        self._meanwhile()
        self.driver.synchronise(self.stream)
        self._refuse_broken(kernels)
        soft = self._soft.T.copy().reshape(-1, *self.grid)
        self._last, self._painted = (features, soft), self._asked is not None
        return soft

    def _start_step(self, features: NDArray[np.float32] | DeviceFeatures, kernels: Kernels, memory: Memory) -> None:
        """Queue a frame's step, in as few launches as there can be."""
        painter = self._ready()
        # Every address, size and number that goes into the work, but what the table and the pinned memory hold.
        base = kernels.number, kernels.version, painter.version, self._arena.version, self._count, self._asked
        encoding = features.encoding if isinstance(features, DeviceFeatures) else None
        if encoding is not None:
            assert isinstance(features, DeviceFeatures)
            source = features.address

            def whole() -> None:
                encoding.queue()
                self._queue(kernels, memory, source)

            if self._whole.run((encoding.key, source, *base), whole):
                features.encoding = None
                return
        source = self._source(features)
        if not self._graphs.run((source, *base), lambda: self._queue(kernels, memory, source)):
            self._queue(kernels, memory, source)

    def reserve(self, shape: tuple[int, int, int], labels: int = 2) -> None:
        """Take the device memory for features of this shape (C, h, w), so that a lack of it shows before any work."""
        if not self._kernels:
            self._start(shape, labels)

    def ids(self, object_ids: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Ids (H, W) of the frame last labelled or pinned: linear resize of its soft labels, then the argmax.

        The steps that follow make the same map, so that it is there already when it is asked for again.
        """
        if self._asked != (object_ids, size):
            self._asked, self._painted = None, False
            table = np.array((0, *object_ids), np.uint8)
            self.driver.upload(self._arena("ids", 256), table, self.stream)
            self._arena("out", size[0] * size[1])
            self._pin_array("picture", size, np.uint8)
            self._prepare_paint(size)
            self.driver.synchronise(self.stream)
            self._asked = object_ids, size
        if not self._painted:
            self._paint(self._memory())
            self.driver.synchronise(self.stream)
            self._painted = True
        return self._pinned_arrays["picture"].copy()

    def grow_labels(self, count: int) -> None:
        """Make room for `count` labels; the new ones are zero everywhere."""
        if count > self._count:
            self._change_labels(lambda rows: np.pad(rows, ((0, 0), (0, 0), (0, count - rows.shape[2]))))

    def drop_label(self, channel: int) -> None:
        """Give the cells of one label to the background, in every frame; later labels move up."""

        def without(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            rows[..., 0] += rows[..., channel]
            return np.delete(rows, channel, axis=2)

        self._change_labels(without)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """See `ContextBuffer.state`."""
        tensors, places = super().state()
        memory = self._memory()
        for number, slot in enumerate(places["slots"]):
            for name, base in (("features", memory.features), ("labels", memory.labels)):
                one = tensors[name][number]
                self.driver.download(one, base + self._places[slot] * one.nbytes, self.stream)
        self.driver.synchronise(self.stream)
        return tensors, places

    def restore(self, tensors: Mapping[str, NDArray[Any]], places: Mapping[str, Any]) -> None:
        """See `ContextBuffer.restore`. A state of the CPU is taken too, its features rounded to float16."""
        tensors = {**tensors, "features": np.asarray(tensors["features"], np.float16)}
        super().restore(tensors, places)
        _, h, w, channels = tensors["features"].shape
        self._start((channels, h, w), tensors["labels"].shape[2])
        memory = self._memory()
        for number, slot in enumerate(int(place) for place in places["slots"]):
            for name, base in (("features", memory.features), ("labels", memory.labels)):
                one = np.ascontiguousarray(tensors[name][number])
                self.driver.upload(base + self._places[slot] * one.nbytes, one, self.stream)
                self.driver.synchronise(self.stream)

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        super().clear()
        with quiet_when_lost():
            self.driver.synchronise(self.stream)
        self._forget_graphs()
        for name in list(self._pinned_arrays):
            self._unpin_array(name)
        self._arena.clear()
        for kernels in self._kernels.values():
            kernels.close()
        self._kernels, self._last, self._asked, self._painted = {}, None, None, False
        self._places = list(range(self.slots))

    @property
    def labels(self) -> NDArray[np.float32]:
        """Not to be had on the host: attention of the CPU cannot run on this context."""
        raise CrwedgeError("the context is on the device; use its own propagation")

    def tell(self, query: int, settings: PropagationSettings | None = None) -> None:
        """Write the table of the next step: the context as it stands, and the place of the frame to be labelled."""
        settings = settings or self.settings
        frames = [] if self.empty else self.frames()
        entries = [(self._places[frame.slot], is_global(settings, frame), frame.copies) for frame in frames]
        self._table[:] = context_table(entries, query, self.slots + 1)

    @property
    def _query(self) -> int:
        """The place of the frame being labelled: the one that belongs to no slot of the context."""
        return self._places[-1]

    def _write(self, slot: int, features: NDArray[np.float32], soft: NDArray[np.float32]) -> None:
        """Put a frame into a slot. What `propagate` has just computed is on the device already, and only changes its name."""
        if not self._kernels:
            self._start((features.shape[0], features.shape[1], features.shape[2]), soft.shape[0])
        if soft.shape[0] > self._count:
            self.grow_labels(soft.shape[0])
        memory, cells = self._memory(), self._shape[1] * self._shape[2]
        known, self._last = self._last, None
        if known is not None and known[0] is features and known[1] is soft:
            self._places[slot], self._places[-1] = self._places[-1], self._places[slot]
            return
        kernels, self._painted = self._ready(), False
        rows = np.zeros((cells, self._count), np.float32)
        rows[:, : soft.shape[0]] = soft.reshape(soft.shape[0], -1).T
        live = live_words(rows)
        place = self._places[slot]
        self.tell(place)
        self.driver.upload(memory.table, self._table, self.stream)
        kernels.pack(self._source(features), memory, self.stream)
        for address, values in (
            (memory.labels + place * rows.nbytes, rows),
            (memory.latest, rows),
            (memory.live, live),
        ):
            self.driver.upload(address, values, self.stream)
        self.driver.download(self._broken, kernels.broken, self.stream)
        self.driver.synchronise(self.stream)
        self._refuse_broken(kernels)

    def _start(self, shape: tuple[int, int, int], count: int) -> None:
        channels, h, w = self._shape = shape
        self._ready(self.settings, starting=True)
        cells = h * w
        self._arena("features", self.slots * cells * channels * 2)
        self._arena("source", channels * cells * 4)
        self._table = self._pin_array("table", (4 + 4 * (self.slots + 1),), np.int32)
        self._arena("table", self._table.nbytes)
        self._broken = self._pin_array("broken", (1,), np.int32)
        self._set_count(count)
        self.driver.fill(self._arena("labels", 0), 0, self.slots * cells * count * 4, self.stream)

    def _set_count(self, count: int) -> None:
        cells, self._count = self._shape[1] * self._shape[2], count
        self._arena("labels", self.slots * cells * count * 4)
        self._arena("latest", cells * count * 4)
        self._arena("live", cells * words_of(count) * 4)
        self._soft = self._pin_array("soft", (cells, count), np.float32)
        self._asked, self._painted = None, False
        # Of this only the shape is ever looked at.
        self._labels = np.zeros((self.slots - 1, cells, count), np.float32)

    def _change_labels(self, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        """Labels of all slots to the host, changed, and back: rare, when objects come or go."""
        have = np.empty((self.slots, self._shape[1] * self._shape[2], self._count), np.float32)
        self.driver.download(have, self._arena("labels", 0), self.stream)
        self.driver.synchronise(self.stream)
        changed = np.ascontiguousarray(change(have), np.float32)
        self._set_count(changed.shape[2])
        self.driver.upload(self._arena("labels", 0), changed, self.stream)
        self.driver.synchronise(self.stream)
        self._last = None

    def _refuse_broken(self, kernels: Kernels) -> None:
        if self._broken[0]:
            self.driver.fill(kernels.broken, 0, 4, self.stream)
            raise CrwedgeError(
                "the encoder gave features that are not finite; its weights are damaged or too large for its precision "
                "(export the bundle again, or use --engine cpu with a float32 bundle)"
            )

    def _memory(self) -> Memory:
        return Memory(*(self._arena(name, 0) for name in ("features", "labels", "latest", "table", "live")))

    def _ready(self, settings: PropagationSettings | None = None, starting: bool = False) -> Kernels:
        """The kernels for these settings, sized for the context's grid."""
        if not self._kernels and not starting:
            raise CrwedgeError("there is no context yet: pin the first frame")
        wanted = settings or self.settings
        if wanted not in self._kernels:
            channels, h, w = self._shape
            self._kernels[wanted] = Kernels(self.driver, wanted, (h, w), channels, self._variant, self._shares)
        return self._kernels[wanted]

    def _queue(self, kernels: Kernels, memory: Memory, source: int) -> None:
        """Everything of a step that is the same for every frame: what differs is in the table."""
        driver = self.driver
        driver.upload(memory.table, self._table, self.stream)
        kernels.pack(source, memory, self.stream)
        kernels.attend(memory, self.stream)
        kernels.settle(memory, self._count, self.stream)
        driver.download(self._soft, memory.latest, self.stream)
        driver.download(self._broken, kernels.broken, self.stream)
        if self._asked is not None:
            self._paint(memory)

    def _paint(self, memory: Memory) -> None:
        """Queue the label map that was asked for, and its copy to the host."""
        assert self._asked is not None
        ids, out, size = self._arena("ids", 0), self._arena("out", 0), self._asked[1]
        stretched = self.settings.output_norm == "minmax"
        self._ready().paint(memory, ids, out, self._count, size, self.stream, stretched)
        self.driver.download(self._pinned_arrays["picture"], out, self.stream)

    def _prepare_paint(self, size: tuple[int, int]) -> None:
        self._ready().prepare_paint(size, self._count if self.settings.output_norm == "minmax" else 0)

    def _pin_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A pinned array by its name; the one before it is given back, with the graphs that copy from or to it."""
        if name in self._pinned_arrays:
            self.driver.synchronise(self.stream)
            self._unpin_array(name)
        self._forget_graphs()
        array = self._pinned_arrays[name] = self.driver.pinned(shape, dtype)
        return array

    def _unpin_array(self, name: str) -> None:
        with quiet_when_lost():
            self.driver.unpin(self._pinned_arrays.pop(name))

    def _forget_graphs(self) -> None:
        self._whole.clear()
        self._graphs.clear()

    def _source(self, features: NDArray[np.float32] | DeviceFeatures) -> int:
        """The device address of a frame's features; those of the host are queued to be copied."""
        if isinstance(features, DeviceFeatures):
            features.ready()
            return features.address
        self._staged = np.ascontiguousarray(features, np.float32)
        source = self._arena("source", self._staged.nbytes)
        self.driver.upload(source, self._staged, self.stream)
        return source


def live_words(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    """(cells, words): bit c % 32 of word c // 32 is set where label c of (cells, K) is above zero."""
    cells, count = rows.shape
    bits = np.zeros((cells, words_of(count) * 32), np.bool_)
    bits[:, :count] = rows > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")
