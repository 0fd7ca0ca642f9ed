"""The tracker: frames in, label maps out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import CrwedgeError, MaskError, SourceError
from crwedge.core.images import check_frame, grid_size
from crwedge.core.joints import FrameJoints
from crwedge.core.keypoints import soft_to_joints
from crwedge.core.labels import LabelMap, soft_labels
from crwedge.core.settings import PropagationSettings, preset
from crwedge.core.start import Given, JointStart, MaskStart, Start, start_of
from crwedge.runtime.adapter import Adapter
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.engine import AutoEngine, Engine, open_engine
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.closing import Closing
from crwedge.runtime.monitor import TRUSTED, Recovery
from crwedge.runtime.ops.snapshot import SnapshotError, State, plain
from crwedge.runtime.placement import OnHost, Placement, Propagate, open_placement
from crwedge.runtime.processors import at_work
from crwedge.runtime.propagation.confidence import CALIBRATION, object_signs
from crwedge.runtime.propagation.context import memory_formula
from crwedge.runtime.propagation.propagator import check_features
from crwedge.runtime.refresh import ContextImages
from crwedge.runtime.sources.frame import Frame

_WIDER = 2.0
"""How much wider the search is after a gap."""
_KEPT_OVER_A_GAP = 3


class Tracker(Closing):
    """Follows objects from frame to frame: one stateful object a video, one verb.

    Args:
        engine: runs the encoder.
        settings: the propagation protocol; `crw` by default.
        size: (H, W) to compute at; label maps keep the frame's own size. None computes at the frame's size.
        adapter: test-time training, see `Adapter`.
        workers: threads of the propagation; by default every processor this process may use.
    """

    def __init__(
        self,
        engine: Engine,
        settings: PropagationSettings | None = None,
        size: tuple[int, int] | None = None,
        adapter: Adapter | None = None,
        workers: int | None = None,
    ) -> None:
        """Nothing is computed before the first step."""
        self.watch = False
        """Whether to estimate how far each object can be trusted, without knowing the truth."""
        self.any_size = False
        """Whether frames may change their size: later ones are then computed at the first one's."""
        self.engine = engine
        self.settings = settings or PropagationSettings()
        self.size = size
        self.adapter = adapter
        self.bundle: Bundle | None = None
        self.stages_ms: dict[str, float] = {}
        """Milliseconds of each stage of the last step: encode, propagate, output. Of the host: on a device, what was only
        queued in one stage is waited for in the next."""
        self.ahead: Callable[[], NDArray[np.uint8] | Frame | None] = lambda: None
        """Asked, while a device computes, for the frame that waits, so that it can be sent ahead. It need not be the next to
        come, and its array must not be written to any more."""
        self._workers = workers
        self._images = ContextImages() if adapter is not None and adapter.recompute else None
        self._propagators: dict[PropagationSettings, Propagate] = {}
        """By their settings: the protocol's own, and wider ones after a gap."""
        self._place()
        self._recovery = Recovery()
        self._trust: dict[int, float] = {}
        self._shares = 1.0, 1.0
        self._sharp: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._ids: tuple[int, ...] = ()
        self._names: dict[int, str] = {}
        """Of the objects that are joints; empty when masks are followed."""
        self._index = 0
        self._source_index: int | None = None
        self._frame_size: tuple[int, int] | None = None

    @classmethod
    def open(
        cls,
        model: str | Path | Bundle | None = None,
        engine: str = "auto",
        settings: PropagationSettings | None = None,
        size: tuple[int, int] | None = None,
        adapter: Adapter | None = None,
        workers: int | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Tracker:
        """Open a bundle and make a tracker of it.

        Args:
            model: a bundle or its folder; by default the newest that `crwedge export` wrote, else the shipped encoder.
            engine: `auto`, `cpu`, `cuda` or `tensorrt`; see `open_engine`.
            settings: by default the bundle's own preset.
            size: (H, W) to compute at; by default the bundle's fixed size, else the frame's.
            adapter: test-time training.
            workers: threads.
            say: told, in one line each, of engines that `auto` could not use.
        """
        bundle = model if isinstance(model, Bundle) else find_bundle(model)
        settings = settings or preset(bundle.manifest.preset)
        size = size or bundle.manifest.size
        tracker = cls(open_engine(bundle, engine, workers, say, size), settings, size, adapter, workers)
        tracker.bundle = bundle
        if adapter is not None:
            adapter.start(bundle, tracker.engine, workers, tracker.size, settings.context_length)
        return tracker

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects followed now, in the order of the soft labels' channels (channel 0 is the background)."""
        return self._ids

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints followed now; empty where masks are followed."""
        return tuple(self._names.values())

    @property
    def memory_statement(self) -> str:
        """The context's memory as a formula and a number; known after the first mask."""
        if self._context.empty:
            raise CrwedgeError("the memory is known once the first frame with a mask has come")
        channels = self._context.frames()[0].features.shape[2]
        return memory_formula(self.settings, self._context.grid, channels, 1 + len(self._ids))[0]

    def step(self, frame: NDArray[np.uint8] | Frame, mask: Given | None = None) -> LabelMap:
        """Label one frame.

        Args:
            frame: RGB uint8 (H, W, 3), or a `Frame` of a source, whose time stamp goes to the result.
            mask: (H, W) ids. On the first frame it says what to follow. On a later one it adds objects and corrects those it
                shows; other objects stay as predicted where it is 0, and so does everything where it is 255 (void).
                Or joints, with the first frame alone: `LabelMap.joints` then says where they are.

        Returns:
            The label map, of the frame's own size.

        Raises:
            MaskError: no mask came with the first frame, or it does not fit.
            SourceError: the frame is of another kind or size.
        """
        with at_work():
            return self._step(frame, mask)

    def _step(self, frame: NDArray[np.uint8] | Frame, mask: Given | None) -> LabelMap:
        pts = frame.pts if isinstance(frame, Frame) else None
        pixels = check_frame(frame.image if isinstance(frame, Frame) else frame)
        size = pixels.shape[0], pixels.shape[1]
        gap = isinstance(frame, Frame) and frame.after_gap and not self._context.empty
        if self._frame_size is not None and size != self._frame_size and not self.any_size:
            raise SourceError(
                f"the frame is {size[1]}x{size[0]}, those before it {self._frame_size[1]}x{self._frame_size[0]}; "
                "reset the tracker and give a mask, or keep one size"
            )
        given = None if mask is None else start_of(mask, size)
        if given is None and self._context.empty:
            raise MaskError("the first frame needs a mask of the objects to follow (--mask init.png)")
        if given is not None and not self._context.empty and (self._names or isinstance(given, JointStart)):
            raise MaskError(
                "joints come with the first frame alone, and no mask after them; reset the tracker to begin anew"
            )
        self._frame_size = self._frame_size or size
        start = time.perf_counter()
        if self._context.empty:
            self._place()
        if gap:
            self._begin_again()
        if self.adapter is not None:
            self._adapt(self.adapter, pixels, frame.index if isinstance(frame, Frame) else self._index)
        features = self._encode(pixels)
        # The expected overlap is that of masks; a joint has its own measure.
        measured = self.watch and isinstance(self._placement, OnHost) and not self._names
        encoded = time.perf_counter()
        if self._context.empty:
            assert given is not None
            check_features(features)
            soft = self._start(features, given)
        else:
            propagator = self._choose_propagator(measured)
            soft = propagator(features, self._context)
            if isinstance(given, MaskStart):
                soft = self._corrected(soft, given)
                self._context.pin(features, soft)
            else:
                self._context.append(features, soft)
        propagated = time.perf_counter()
        predicted = self._placement.ids(soft, self._ids, size)
        if isinstance(given, MaskStart):
            predicted = given.over(predicted)
        joints = self._joints(soft, size, given) if self._names else None
        confidence = self._confidence(features, soft) if measured and given is None else {}
        if given is not None:
            self._recovery.painted(given.ids)
        states = self._recovery.judge(self._ids, confidence, self._present(predicted, joints))
        self._trust[self._context.newest_slot] = min(confidence.values(), default=1.0 if given is not None else 0.5)
        done = time.perf_counter()
        self.stages_ms = {
            "encode": 1e3 * (encoded - start),
            "propagate": 1e3 * (propagated - encoded),
            "output": 1e3 * (done - propagated),
        }
        self._source_index = frame.index if isinstance(frame, Frame) else None
        name, when = (frame.name, frame.time) if isinstance(frame, Frame) else (None, None)
        labels = LabelMap(
            predicted,
            self._index,
            self._ids,
            soft,
            pts,
            pixels,
            self._source_index,
            confidence,
            states,
            joints,
            name,
            when,
        )
        self._index += 1
        if self._images is not None:
            self._images.note(self._context, pixels, pinned=given is not None)
        return labels

    def tune(self, context: float, radius: float, size: float) -> None:
        """From the next frame on, do a share of the full work: see `crwedge.runtime.ops.rate_control`.

        Args:
            context: share of the context frames that are looked at; all are kept.
            radius: share of the search radius.
            size: share of the sides of the picture that is computed on. Where the size is fixed, by the bundle or by a
                device, it stays.
        """
        m = self.settings.context_length
        self._context.newest = None if context >= 1 else max(1, round(m * context))
        fixed = self.bundle is not None and self.bundle.manifest.size is not None
        if self._context.empty or fixed or not isinstance(self._placement, OnHost) or self._images is not None:
            size = 1.0
        before, self._shares = self._shares[1], (radius, size)
        if size == before:
            return
        if before == 1:
            self._sharp = self._context.pinned_copies()
        height, width = self._compute_size() or self._frame_size or (16, 16)
        self._context.resample(grid_size(height, width))
        if size == 1:
            # What came from outside is as sharp as it was.
            self._context.renew(self._sharp)
            self._sharp = {}

    def remove(self, *ids: int) -> None:
        """Follow some objects no longer: their cells become background, in the whole context.

        Raises:
            MaskError: an object is not followed, or none would be left.
        """
        unknown = sorted(set(ids) - set(self._ids))
        if unknown:
            raise MaskError(f"there is no object {unknown[0]} to remove; followed are {', '.join(map(str, self._ids))}")
        if not set(self._ids) - set(ids):
            raise MaskError("the last object cannot be removed; end the run, or paint another first")
        for object_id in ids:
            self._context.drop_label(1 + self._ids.index(object_id))
            self._ids = tuple(i for i in self._ids if i != object_id)
            self._names.pop(object_id, None)

    def state(self) -> State:
        """Everything that the next label map depends on, copied: see `crwedge.runtime.ops.snapshot`."""
        if self._context.empty:
            raise CrwedgeError("there is nothing to keep before the first frame")
        tensors, places = self._context.state()
        facts = {
            "places": places,
            "object_ids": self._ids,
            "joints": list(self._names.items()),
            "index": self._index,
            "source_index": self._source_index,
            "frame_size": self._frame_size,
            "recovery": self._recovery.state(),
            "shares": [self._context.newest, *self._shares],
            "trust": list(self._trust.items()),
            "size": self.size,
            "settings": self.settings.to_dict(),
            "model": self.bundle.sha256 if self.bundle is not None else None,
        }
        return State(tensors, plain(facts))

    def restore(self, state: State) -> None:
        """Go on from a state: the next label maps are those that would have followed it.

        Raises:
            SnapshotError: it was taken with other settings, another model or another size.
        """
        model = self.bundle.sha256 if self.bundle is not None else None
        mine = plain({"settings": self.settings.to_dict(), "size": self.size, "model": model})
        for name, value in mine.items():
            if state.facts[name] != value:
                raise SnapshotError(f"the snapshot was taken with {name} {state.facts[name]}, not {value}")
        self._context.clear()
        self._place()
        try:
            self._context.restore(state.tensors, state.facts["places"])
        except (KeyError, ValueError) as error:
            raise SnapshotError(f"the snapshot is damaged ({error}); remove it to start anew") from error
        self._recovery.restore(state.facts["recovery"])
        newest, radius, share = state.facts["shares"]
        self._context.newest, self._shares = newest, (float(radius), float(share))
        self._trust = {int(slot): float(value) for slot, value in state.facts["trust"]}
        self._ids = tuple(int(i) for i in state.facts["object_ids"])
        self._names = {int(i): str(name) for i, name in state.facts.get("joints", ())}
        self._index, self._source_index = state.index, state.source_index
        size = state.facts["frame_size"]
        self._frame_size = (int(size[0]), int(size[1]))

    def reset(self) -> None:
        """Forget all objects and frames; the next frame needs a mask and may have another size."""
        self._context.clear()
        self._ids, self._names, self._index, self._frame_size = (), {}, 0, None
        self._recovery, self._trust = Recovery(), {}
        self._shares, self._sharp = (1.0, 1.0), {}
        if self._images is not None:
            self._images.clear()
        if self.adapter is not None:
            self.adapter.reset()

    def close(self) -> None:
        """Give back threads and memory."""
        self._close_propagators()
        self._context.clear()
        self.engine.close()
        if self.adapter is not None:
            self.adapter.close()

    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            return self._placement.encode(self.engine, pixels, self._compute_size())
        except DeviceError as error:
            # A context on the device is lost with it; before the first frame there is none, and `auto` can go on.
            if not (self._context.empty and isinstance(self.engine, AutoEngine)):
                raise
            self.engine.step_down(error)
            self._place()
            return self._encode(pixels)

    def _compute_size(self) -> tuple[int, int] | None:
        """(H, W) that frames are encoded at; None for their own."""
        share = self._shares[1]
        if share == 1:
            return self.size or (self._frame_size if self.any_size else None)
        whole = self.size or self._frame_size or (16, 16)
        return max(16, round(whole[0] * share / 8) * 8), max(16, round(whole[1] * share / 8) * 8)

    def _place(self) -> None:
        """Before the first frame: choose where to propagate. Trust is estimated, and features renewed, on the CPU alone."""
        self._close_propagators()
        on_cpu = self.watch or self._images is not None
        self._placement: Placement = open_placement(self.engine, self.settings, self._workers, on_cpu)
        self._context = self._placement.context
        self._placement.ahead = self._waiting

    def _waiting(self) -> NDArray[np.uint8] | None:
        """The frame that waits, if it is one like those before it; whatever is wrong with another is said at its turn."""
        waiting = self.ahead()
        image = waiting.image if isinstance(waiting, Frame) else waiting
        fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.flags.c_contiguous
        return image if fits and image is not None and image.shape == (*(self._frame_size or ()), 3) else None

    def _close_propagators(self) -> None:
        for propagator in self._propagators.values():
            propagator.close()
        self._propagators.clear()

    def _begin_again(self) -> None:
        """Frames are missing. What was predicted long ago misleads: keep what was sure, and search wider."""
        self._recovery.begin(self._ids)
        sure = [slot for slot in self._context.ring if self._trust.get(slot, 0.0) >= TRUSTED]
        self._context.keep(sure[:_KEPT_OVER_A_GAP])

    def _choose_propagator(self, measured: bool) -> Propagate:
        settings = self.settings
        if self._recovery.wide and settings.local:
            settings = settings.with_changes(radius=settings.radius * _WIDER)
        if settings.local and self._shares[0] != 1:
            settings = settings.with_changes(radius=max(2.0, round(settings.radius * self._shares[0])))
        if settings not in self._propagators:
            self._propagators[settings] = self._placement.propagator(settings)
        chosen = self._propagators[settings]
        chosen.measure(measured)
        self._used = chosen
        return chosen

    def _confidence(self, features: NDArray[np.float32], soft: NDArray[np.float32]) -> dict[int, float]:
        """Expected overlap of each object, from the last pinned frame that shows it."""
        found: dict[int, float] = {}
        cells = soft.shape[1] * soft.shape[2]
        for pinned in reversed([frame for frame in self._context.frames() if frame.pinned]):
            labels = self._context.labels[pinned.slot * cells : (pinned.slot + 1) * cells]
            signs = object_signs(features, soft, self._used.spread, pinned, labels, self.settings)
            for object_id, of_one in zip(self._ids, signs, strict=True):
                if of_one is not None and object_id not in found:
                    found[object_id] = CALIBRATION(of_one)
            if len(found) == len(self._ids):
                break
        return found

    def _adapt(self, adapter: Adapter, pixels: NDArray[np.uint8], index: int) -> None:
        """Take new weights where the adapter has some, between two frames."""
        engine = adapter.prepare(pixels, index)
        if engine is None:
            return
        if engine is not self.engine:
            self.engine.close()
            self.engine = engine
        if self._images is not None:
            self._images.encode_again(self._context, adapter.features, self._encode)

    def _start(self, features: NDArray[np.float32], given: Start) -> NDArray[np.float32]:
        """Follow what is given with the first frame; returns its soft labels."""
        self._ids = given.ids
        if isinstance(given, JointStart):
            self._names = dict(zip(given.ids, given.joints.names, strict=True))
        soft = given.soft((features.shape[1], features.shape[2]))
        self._context.pin(features, soft)
        return soft

    def _joints(self, soft: NDArray[np.float32], size: tuple[int, int], given: Start | None) -> FrameJoints:
        """Where the joints are: as given, or read from the soft labels."""
        if isinstance(given, JointStart):
            return replace(given.joints, confidence=given.joints.visible.astype(np.float64))
        return FrameJoints(tuple(self._names.values()), *soft_to_joints(soft, size))

    def _present(self, ids: NDArray[np.uint8], joints: FrameJoints | None) -> dict[int, bool]:
        """Whether anything is left of each object; a joint wins no pixel where the background is stronger."""
        if joints is not None:
            return {i: bool(seen) for i, seen in zip(self._ids, joints.visible, strict=True)}
        pixels = np.bincount(ids.reshape(-1), minlength=256)
        return {i: bool(pixels[i]) for i in self._ids}

    def _corrected(self, soft: NDArray[np.float32], given: MaskStart) -> NDArray[np.float32]:
        """Soft labels of a frame whose mask tells part of the truth; ids that are new are followed from here on.

        Objects in the mask take its values; the others keep what was predicted in what room is left; void keeps all.
        """
        painted_ids = given.ids
        self._ids = (*self._ids, *(i for i in painted_ids if i not in self._ids))
        self._context.grow_labels(1 + len(self._ids))
        count, (h, w) = 1 + len(self._ids), soft.shape[1:]
        predicted = np.zeros((count, h, w), np.float32)
        predicted[: soft.shape[0]] = soft
        painted, known = soft_labels(given.mask, self._ids, (h, w))
        shown = np.array([False, *(i in painted_ids for i in self._ids)])
        # Objects that the mask does not show, and the background, share what the painted ones leave.
        rest = predicted * ~shown[:, None, None]
        total = rest.sum(axis=0)
        rest[0] += total == 0
        rest /= np.where(total == 0, 1, total)
        truth = painted * shown[:, None, None]
        truth += rest * (1 - truth.sum(axis=0))
        return np.asarray(known * truth + (1 - known) * predicted, np.float32)
