"""Context and propagation on an NVIDIA device: label maps leave it, and soft labels where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import ContextState, Features, Prediction, Search
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.kernels import Kernels, KeyFrame, LabelMemory, bitmask_words, label_bitmask
from crwedge.runtime.backends.cuda.memory import Block, DeviceMemory
from crwedge.runtime.backends.cuda.prediction import CudaFeatures, CudaPrediction, FeatureBlock, Measured, StoredFrame
from crwedge.runtime.backends.cuda.pycuda_driver import open_driver
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.backends.engine import DeviceEngine, Engine
from crwedge.runtime.propagation.confidence import Signs, object_signs
from crwedge.runtime.propagation.label_grid import label_rows, packed_change, row_means
from crwedge.runtime.propagation.neighbourhood import is_global
from crwedge.runtime.propagation.rescale import kept_part, resample_features, resample_labels
from crwedge.runtime.propagation.slots import ContextSlots
from crwedge.runtime.propagation.view import View

Known = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]


class CudaBackend:
    """See `Backend`. Features are stored in float16, labels in float32.

    Everything is queued on one stream, the engine's own where it runs on the same device. Each frame has device memory of
    its own, which joins the context when the frame is remembered: nothing is copied.

    Args:
        engine: encodes. Features of an engine that runs elsewhere are sent to the device.
        settings: the protocol.
        keep_frames: keep the pixels of the context's frames, for `encode_again`.
        driver: the device; by default the engine's, else the first GPU.
        variant: how the attention is compiled; by default what suits the device.
        key_splits: blocks that share a tile's keys; by default what fills the device.
    """

    on_device = True

    def __init__(
        self,
        engine: Engine,
        settings: PropagationSettings,
        keep_frames: bool = False,
        driver: Driver | None = None,
        variant: Variant | None = None,
        key_splits: int | None = None,
    ) -> None:
        if driver is None and isinstance(engine, DeviceEngine):
            driver = engine.driver
        self._driver = driver.retain() if driver is not None else open_driver()
        self.settings, self.engine, self._keep_frames = settings, engine, keep_frames
        here = self._resident()
        self._memory = DeviceMemory(self._driver, here.stream if here else self._driver.stream())
        self._kernels = Kernels(self._memory, variant, key_splits)
        self._slots = ContextSlots(settings, keep_frames)
        self._slot_to_buffer: dict[int, StoredFrame] = {}
        self._capacity, self._count = 0, 0
        self._pinned_on_host: dict[int, tuple[StoredFrame, NDArray[np.float16], NDArray[np.float32]]] = {}

    @property
    def empty(self) -> bool:
        """See `Backend.empty`."""
        return self._slots.empty

    @property
    def nbytes(self) -> int:
        """See `Backend.nbytes`; with the scratch memory of the kernels."""
        return self._memory.nbytes

    def encode(self, frame: NDArray[np.uint8], view: View) -> CudaFeatures:
        """See `Backend.encode`. The first frame takes the memory for the features of all slots."""
        engine = self._resident()
        if engine is None:
            values = self.engine.run(view.encoded.pixels(frame))
            return CudaFeatures(self._upload(view.without_halo(values), view), frame)
        output = engine.run_resident(frame, view.encoded)
        if engine.stream == self._memory.stream:
            return CudaFeatures(self._store(output.address, output.shape, view, view.encoded), frame)
        self._driver.synchronise(engine.stream)
        features = CudaFeatures(self._store(output.address, output.shape, view, view.encoded), frame)
        # The engine may write its output again.
        self._driver.synchronise(self._memory.stream)
        return features

    def propagate(self, features: Features, search: Search) -> CudaPrediction:
        """See `Backend.propagate`."""
        block = self._block_of(features)
        block.check()
        context = self._slots.frames(search.newest)
        settings, view = search.settings, features.view
        if not context:
            raise CrwedgeError("there is no context yet: remember a labelled frame first")
        frames = []
        for frame in context:
            stored = self._slot_to_buffer[frame.slot]
            if frame.view.size != view.size or stored.features.channels != features.channels:
                raise CrwedgeError(
                    f"features of a frame of {view.size} with {features.channels} channels do not fit a context of frames "
                    f"of {frame.view.size} with {stored.features.channels}"
                )
            addresses = stored.features.address, stored.labels.address
            frames.append(KeyFrame(*addresses, frame.view, frame.copies, is_global(settings, frame.pinned)))
        labels, bitmask = self._take_labels(view.cells, self._count)
        entropy = self._take(view.cells, 4) if search.entropy else None
        support = self._take(view.cells, 4) if search.support else None
        self._kernels.propagate(
            block.address, view, features.channels, frames, settings,
            LabelMemory(labels.address, bitmask.address, self._count), entropy.address if entropy else 0,
            support.address if support else 0,
        )  # fmt: skip
        return self._prediction(features, labels, bitmask, self._count, (entropy, support))

    def label(self, features: Features, soft: NDArray[np.float32]) -> CudaPrediction:
        """See `Backend.label`."""
        self._block_of(features).check()
        return self._labelled(features, soft)

    def relabel(self, prediction: Prediction, soft: NDArray[np.float32]) -> CudaPrediction:
        """See `Backend.relabel`."""
        measured = prediction.measured if isinstance(prediction, CudaPrediction) else (None, None)
        return self._labelled(prediction.features, soft, measured)

    def _labelled(
        self, features: Features, soft: NDArray[np.float32], measured: Measured = (None, None)
    ) -> CudaPrediction:
        rows = label_rows(soft, self.settings.label_scale)
        labels, bitmask = self._take_labels(*rows.shape)
        self._driver.upload(labels.address, rows, self._memory.stream)
        self._driver.upload(bitmask.address, label_bitmask(rows), self._memory.stream)
        return self._prediction(features, labels, bitmask, rows.shape[1], measured)

    def remember(self, prediction: Prediction, *, pinned: bool, trust: float) -> None:
        """See `Backend.remember`."""
        if not isinstance(prediction, CudaPrediction) or prediction.memory is not self._memory:
            prediction = self.label(prediction.features, prediction.fine)
        features, labels = prediction.features, prediction.labels
        if self.empty:
            self._count = prediction.count
        elif prediction.count > self._count:
            self._edit_channels(np.eye(self._count, prediction.count, dtype=np.float32))
        if prediction.count < self._count:
            rows = label_rows(prediction.fine, self.settings.label_scale)
            labels = self._upload_labels(np.pad(rows, ((0, 0), (0, self._count - prediction.count))))
        add = self._slots.pin if pinned else self._slots.append
        slot = add(features.view, trust, features.pixels)
        self._slot_to_buffer[slot] = StoredFrame(self._block_of(features), labels)
        self._drop_unused()

    def keep_trusted(self, trust: float, count: int) -> None:
        """See `Backend.keep_trusted`."""
        self._slots.keep_trusted(trust, count)
        self._drop_unused()

    def edit_labels(self, change: NDArray[np.float32]) -> None:
        """See `Backend.edit_labels`. Labels go to the host and back: rare, when objects come or go."""
        self._edit_channels(packed_change(change, self.settings.label_scale))

    def _edit_channels(self, change: NDArray[np.float32]) -> None:
        for slot, stored in self._slot_to_buffer.items():
            labels = self._upload_labels(self._labels_of(stored) @ change)
            self._slot_to_buffer[slot] = StoredFrame(stored.features, labels)
        self._memory.trim(self._capacity * self._count * 4)
        self._slots.edit_first(change)
        self._count = change.shape[1]

    def encode_again(self, known: Known) -> None:
        """See `Backend.encode_again`. A frame whose pixels are gone, after `restore`, keeps its features."""
        if not self._keep_frames:
            raise CrwedgeError("the context's frames were not kept; open the backend with keep_frames")
        for slot, stored in self._slot_to_buffer.items():
            pixels, view = self._slots.pixels(slot), stored.features.view
            if pixels is None:
                continue
            fresh = known(pixels)
            if fresh is not None and fresh.shape[1:] == view.grid:
                block = self._upload(fresh, view)
            else:
                block = self.encode(pixels, view).block
            block.check()
            self._slot_to_buffer[slot] = StoredFrame(block, stored.labels)

    def rescale(self, view: View, cells: int) -> None:
        """See `Backend.rescale`. The host resamples: rare, when the scale changes."""
        found = {}
        for slot, stored in self._slot_to_buffer.items():
            old, pixels = stored.features.view, self._slots.pinned_pixels(slot)
            first = self._slots.first_labels(slot, self._labels_of(stored))
            new = kept_part(first.view, old if pixels is None else None, view, cells)
            labels = resample_labels(first.labels, first.view, new, self.settings.label_scale)
            if pixels is not None:
                block = self.encode(pixels, new).block
            else:
                rows = stored.features.numpy().reshape(old.cells, -1).astype(np.float32)
                block = self._upload(resample_features(rows, old, new).T.reshape(-1, *new.grid), new)
            found[slot] = StoredFrame(block, self._upload_labels(labels))
        for slot, stored in found.items():
            self._slots.set_view(slot, stored.features.view)
        self._slot_to_buffer = found
        self._pinned_on_host.clear()

    def use(self, engine: Engine) -> None:
        """See `Backend.use`."""
        if engine is not self.engine:
            self._driver.synchronise(self._memory.stream)
            self.engine.close()
            self.engine = engine

    def state(self) -> ContextState:
        """See `Backend.state`."""
        slots = self._slots.in_use
        stored = [self._slot_to_buffer[slot] for slot in slots]
        channels = stored[0].features.channels if stored else 0
        capacity = max((one.features.view.cells for one in stored), default=0)
        features = np.zeros((len(slots), capacity, channels), self.settings.storage)
        labels = np.zeros((len(slots), capacity, self._count), np.float32)
        for row, one in enumerate(stored):
            cells = one.features.view.cells
            features[row, :cells] = one.features.numpy().reshape(cells, -1)
            labels[row, :cells] = self._labels_of(one)
        tensors = {"features": features, "labels": labels, **self._slots.tensors()}
        return ContextState(tensors, {"slots": slots, **self._slots.state()})

    def restore(self, state: ContextState) -> None:
        """See `Backend.restore`. Features in float32 are rounded to float16."""
        features, labels, slots = state.tensors["features"], state.tensors["labels"], ContextSlots(self.settings)
        slots.restore(state.facts, state.tensors)
        rows, capacity = [int(slot) for slot in state.facts["slots"]], features.shape[1]
        fits = features.shape[:2] == labels.shape[:2] == (len(rows), capacity) and rows == slots.in_use
        if not fits or features.dtype != self.settings.storage or any(slots.view(s).cells > capacity for s in rows):
            raise ValueError("the context does not fit together")
        self.clear()
        self._slots.restore(state.facts, state.tensors)
        self._count = labels.shape[2]
        # The largest first, as it decides how large blocks are.
        for row, slot in sorted(enumerate(rows), key=lambda pair: -slots.view(pair[1]).cells):
            view = slots.view(slot)
            one = features[row, : view.cells].astype(np.float32).T.reshape(-1, *view.grid)
            block = self._upload(one, view)
            self._slot_to_buffer[slot] = StoredFrame(block, self._upload_labels(labels[row, : view.cells]))

    def clear(self) -> None:
        """See `Backend.clear`."""
        self._slots.clear()
        self._slot_to_buffer.clear()
        self._pinned_on_host.clear()
        self._capacity = self._count = 0
        self._memory.clear()

    def close(self) -> None:
        """See `Backend.close`."""
        self.clear()
        self._memory.close()
        self.engine.close()
        self._driver.close()

    def _resident(self) -> DeviceEngine | None:
        """The engine, where its features are on this device already."""
        engine = self.engine
        return engine if isinstance(engine, DeviceEngine) and engine.driver is self._driver else None

    def _block_of(self, features: Features) -> FeatureBlock:
        """Where features lie; those of another backend are sent here."""
        if isinstance(features, CudaFeatures) and features.block.memory is self._memory:
            return features.block
        return self._upload(features.numpy(), features.view)

    def _upload(self, features: NDArray[np.float32], view: View) -> FeatureBlock:
        """Features (C, h, w) of the host."""
        host = np.ascontiguousarray(features, np.float32)
        source = self._memory.scratch("source", host.nbytes)
        self._driver.upload(source, host, self._memory.stream)
        return self._store(source, (host.shape[0], host.shape[1], host.shape[2]), view, view)

    def _store(self, source: int, shape: tuple[int, int, int], view: View, given: View) -> FeatureBlock:
        """The part of a view of features (C, h, w) float32 at an address, which cover `given`, in memory of their own."""
        channels, *grid = shape
        if tuple(grid) != given.grid:
            raise CrwedgeError(f"the engine gave features of {grid} cells for a view of {given.grid}")
        if view.cells > self._capacity:
            first, self._capacity = self._capacity == 0, view.cells
            self._memory.trim()
            if first:
                self._memory.reserve(FeatureBlock.nbytes(self._capacity, channels), self._slots.total + 1)
        block = FeatureBlock(self._memory, self._capacity, view, channels)
        self._kernels.store_features(source, given, block.address, block.flag, channels, view)
        return block

    def _take(self, cells: int, cell_bytes: int) -> Block:
        """Memory for so many cells of one frame. Blocks are of one size, so that each is used again."""
        return self._memory.take(max(self._capacity, cells) * cell_bytes)

    def _take_labels(self, cells: int, count: int) -> tuple[Block, Block]:
        return self._take(cells, 4 * count), self._take(cells, 4 * bitmask_words(count))

    def _upload_labels(self, rows: NDArray[np.float32]) -> Block:
        """(cells, K) in memory of its own."""
        block = self._take(rows.shape[0], 4 * rows.shape[1])
        self._driver.upload(block.address, np.ascontiguousarray(rows, np.float32), self._memory.stream)
        return block

    def _labels_of(self, stored: StoredFrame) -> NDArray[np.float32]:
        rows = np.empty((stored.features.view.cells, self._count), np.float32)
        self._driver.download(rows, stored.labels.address, self._memory.stream)
        return rows

    def _drop_unused(self) -> None:
        used = self._slots.in_use
        self._slot_to_buffer = {slot: stored for slot, stored in self._slot_to_buffer.items() if slot in used}
        self._pinned_on_host = {slot: found for slot, found in self._pinned_on_host.items() if slot in used}

    def _prediction(
        self, features: Features, labels: Block, bitmask: Block, count: int, measured: Measured
    ) -> CudaPrediction:
        return CudaPrediction(features, self._kernels, labels, bitmask, count, self.settings, measured, self._signs)

    def _signs(self, prediction: CudaPrediction) -> list[Signs | None]:
        """See `Prediction.confidence_signs`. The host does the few walks, on cells that are downloaded."""
        found: list[Signs | None] = [None] * (len(prediction.soft) - 1)
        now, entropy = prediction.features.numpy(), prediction.entropy
        for frame in reversed([frame for frame in self._slots.frames() if frame.pinned]):
            features, labels = self._on_host(frame.slot)
            signs: Sequence[Signs | None] = object_signs(now, prediction.soft, entropy, features, labels, self.settings)
            found = [have or new for have, new in zip(found, signs, strict=True)]
            if all(found):
                break
        return found

    def _on_host(self, slot: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """Features (h, w, C) and labels (h * w, K) of the cells of a pinned frame, downloaded once."""
        stored = self._slot_to_buffer[slot]
        have = self._pinned_on_host.get(slot)
        if have is None or have[0] is not stored:
            labels = row_means(self._labels_of(stored), self.settings.label_scale)
            have = self._pinned_on_host[slot] = stored, stored.features.numpy(), labels
        return have[1], have[2]
