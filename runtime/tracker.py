"""The tracker: frames in, label maps out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import CrwedgeError
from crwedge.core.images import grid_size
from crwedge.core.labels import LabelMap
from crwedge.core.masks import read_mask
from crwedge.core.prompts import MaskPrompt, PromptLike, as_prompt
from crwedge.core.settings import PropagationSettings, preset
from crwedge.runtime.adapter import Adapter
from crwedge.runtime.backends.base import Backend, ContextState, Features, Prediction, Search
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.backends.open import open_backend
from crwedge.runtime.bundle_lookup import default_preset, find_bundle
from crwedge.runtime.closing import Closing
from crwedge.runtime.locator import Locator, open_locator
from crwedge.runtime.monitor import KEPT_OVER_A_GAP, TRUSTED, Monitor, expected_overlap
from crwedge.runtime.objects import AnyPrompt, Objects
from crwedge.runtime.ops.snapshot import State
from crwedge.runtime.output import finished, guided, nothing_found
from crwedge.runtime.position import Position
from crwedge.runtime.propagation.context import Pixels
from crwedge.runtime.propagation.view import Size, View
from crwedge.runtime.quality import QualityLevel
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.sources.pixels import PixelsLike, pixels_of
from crwedge.runtime.tracker_options import TrackerOptions
from crwedge.runtime.tracker_state import collect_state, restore_context


class Tracker(Closing):
    """Follows objects from frame to frame. One tracker per video; call `step` for each frame.

    Args:
        backend: where frames are encoded and labelled; the tracker closes it.
        options: see `TrackerOptions`.
        adapter: test-time training, see `Adapter`.
        bundle: the encoder's bundle, where there is one: a snapshot belongs to it.
    """

    def __init__(
        self,
        backend: Backend,
        options: TrackerOptions | None = None,
        adapter: Adapter | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.backend = backend
        self.options = options or TrackerOptions()
        self.adapter = adapter
        self.bundle = bundle
        self.stages_ms: dict[str, float] = {}
        """Milliseconds of each stage of the last step: encode, propagate, output."""
        self.view: View | None = None
        """What was computed of the last frame."""
        self.prompt: AnyPrompt | None = None
        """The prompt of the last frame."""
        self.names: Mapping[int, str] = {}
        """Names of objects, for the outputs; see `rename`."""
        self.searched: tuple[int, ...] = ()
        """Objects that are searched and were never found; see `look_for`."""
        self._objects, self._monitor, self._quality = Objects(), Monitor(), QualityLevel()
        self._position = Position()
        self._locator: Locator | None = None

    @classmethod
    def open(
        cls,
        model: str | Path | Bundle | None = None,
        engine: str | Engine = "auto",
        settings: PropagationSettings | str | None = None,
        options: TrackerOptions | None = None,
        adapter: Adapter | None = None,
        workers: int | None = None,
    ) -> Tracker:
        """Open a bundle and make a tracker of it.

        Args:
            model: a bundle or its folder; by default the one chosen with `crwedge use`, else the shipped encoder.
            engine: `auto`, `cpu`, `cuda`, `tensorrt`, or an engine that is open already; see `open_engine`.
            settings: a protocol, or the name of a preset; by default the preset of `crwedge track`, see `default_preset`.
            options: by default those of the bundle: its fixed size, where it has one.
            adapter: test-time training.
            workers: threads; by default every processor this process may use.
        """
        bundle = model if isinstance(model, Bundle) else find_bundle(model)
        chosen = settings if isinstance(settings, PropagationSettings) else preset(settings or default_preset(bundle))
        options = options or TrackerOptions()
        options = replace(options, size=options.size or bundle.manifest.size)
        keep_frames = adapter is not None and adapter.recompute
        backend = open_backend(bundle, chosen, engine, workers, keep_frames=keep_frames, size=options.size)
        if adapter is not None:
            adapter.start(bundle, backend.engine, workers, options.size, chosen.context_length)
        return cls(backend, options, adapter, bundle)

    @property
    def settings(self) -> PropagationSettings:
        """The protocol."""
        return self.backend.settings

    @property
    def engine(self) -> Engine:
        """What encodes now."""
        return self.backend.engine

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects followed now, in the order of the soft labels' channels (channel 0 is the background)."""
        return self._objects.ids

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints followed now; empty where masks are followed."""
        return tuple(self._objects.names.values())

    @property
    def memory_statement(self) -> str:
        """The context's memory as a formula and a number; known after the first mask."""
        if self.backend.empty:
            raise CrwedgeError("the memory is known only after the first frame with a mask")
        return self._position.memory_formula(self.settings, 1 + len(self.object_ids), self.options.size)

    def step(
        self, frame: PixelsLike | Frame, prompt: PromptLike | str | Path | None = None, past: bool = False
    ) -> LabelMap:
        """Label one frame.

        Args:
            frame: RGB uint8 (H, W, 3), a `Frame` of a source, whose time stamp goes to the result, a Pillow image, or the
                path of a picture. Channels are red, green, blue: an array of OpenCV is `array[..., ::-1]`.
            prompt: (H, W) ids, or the path of a mask. On the first frame it says what to follow. On a later one it adds
                objects and corrects those it shows; other objects stay as predicted where it is 0, and so does everything
                where it is 255 (void). Or joints, with the first frame alone: `LabelMap.joints` then says where they are.
            past: the frame is older than the last one: it joins the context and takes no number.

        Returns:
            The label map, of the frame's own size.

        Raises:
            MaskError: no prompt came with the first frame, or it does not fit.
            SourceError: the frame is of another kind or size.
        """
        start, source = time.perf_counter(), frame if isinstance(frame, Frame) else None
        pixels, given = self._check(source.image if source else frame, prompt)
        self.prompt = given
        if given is None and self.backend.empty:
            return self._nothing(source or Frame(pixels, self._position.index))
        if source and source.after_gap and not self.backend.empty:
            self._monitor.gap(self.object_ids)
            self.backend.keep_trusted(TRUSTED, KEPT_OVER_A_GAP)
        self._adapt(pixels, source.index if source else self._position.index)
        locator = self._locator or self._open_locator((pixels.shape[0], pixels.shape[1]))
        features = self.backend.encode(pixels, locator.view(pixels, given))
        encoded = time.perf_counter()
        prediction = self._predict(features, locator, given)
        propagated = time.perf_counter()
        labels = self._report(prediction, pixels, given, source)
        shown = guided(labels, prediction, self.settings) if given is None else labels
        trust = min(labels.confidence.values(), default=0.5 if given is None else 1.0)
        self.backend.remember(prediction, pinned=given is not None, trust=trust)
        locator.observe(prediction, labels, given is not None)
        self.view = features.view
        if past:
            self._monitor.gap(self.object_ids)
        else:
            self._position.advance(labels.source_index)
        seconds = encoded - start, propagated - encoded, time.perf_counter() - propagated
        self.stages_ms = dict(zip(("encode", "propagate", "output"), (1e3 * s for s in seconds), strict=True))
        return finished(shown, self.settings, self.names, given is not None, self.searched)

    def rename(self, names: Mapping[int, str]) -> None:
        """Set names of objects for the outputs from the next frame on; other names stay."""
        self.names = {**self.names, **names}

    def look_for(self, *ids: int) -> None:
        """Set the objects that are searched and were never found. While nothing is followed, frames then need no prompt."""
        self.searched = ids

    def set_quality(self, level: QualityLevel) -> None:
        """Set the quality, a share of the full work, from the next frame on."""
        self._quality = level
        if self._locator is not None:
            self._locator.set_quality(level)

    def remove(self, *ids: int) -> None:
        """Stop following some objects, whose cells become background in the whole context, or stop looking for them.

        Raises:
            MaskError: an object is neither followed nor looked for, or none would be left.
        """
        followed = tuple(i for i in ids if i not in self.searched)
        if followed or not ids:
            self._edit_labels(self._objects.remove(followed))
        self.searched = tuple(i for i in self.searched if i not in ids)

    def state(self) -> State:
        """A copy of everything that the next label map depends on: see `crwedge.runtime.ops.snapshot`."""
        facts = {
            **self._objects.state(),
            **self._position.state(),
            "monitor": self._monitor.state(),
            "quality": [self._quality.context, self._quality.radius, self._quality.cells],
            **self._identity(),
        }
        return collect_state(self.backend, self._locator, facts)

    def restore(self, state: State) -> None:
        """Continue from a state: the next label maps equal those of a tracker that never stopped.

        Raises:
            SnapshotError: it was taken with other settings, another model or another size.
        """
        restore_context(self.backend, state, self._identity())
        facts = state.facts
        self._objects.restore(facts)
        self._monitor.restore(facts["monitor"])
        self._quality = QualityLevel(*map(float, facts["quality"]))
        self._position.restore(facts)
        assert self._position.frame_size is not None
        self._open_locator(self._position.frame_size).restore(ContextState(state.tensors, facts["locator"]))

    def reset(self, keep_index: bool = False) -> None:
        """Forget all objects and frames; the next frame needs a mask and may have another size.

        Args:
            keep_index: continue the numbers of the frames, so that outputs stay in order.
        """
        self.backend.clear()
        self._close_locator()
        self.prompt, self.searched = None, ()
        self._objects, self._monitor, self._quality = Objects(), Monitor(), QualityLevel()
        self._position, self._locator = Position(self._position.index if keep_index else 0), None
        if self.adapter is not None:
            self.adapter.reset()

    def close(self) -> None:
        """Release threads and memory."""
        self._close_locator()
        self.backend.close()
        if self.adapter is not None:
            self.adapter.close()

    def _identity(self) -> dict[str, Any]:
        """What a state can only be restored with."""
        model = self.bundle.sha256 if self.bundle is not None else None
        return {"settings": self.settings.to_dict(), "size": self.options.size, "model": model}

    def _check(self, frame: Any, prompt: PromptLike | str | Path | None) -> tuple[Pixels, AnyPrompt | None]:
        """The frame's pixels and its prompt, both as they have to be; a frame that is refused changes nothing."""
        pixels = pixels_of(frame)
        size = pixels.shape[0], pixels.shape[1]
        if not self.options.any_size:
            self._position.check_size(size)
        if isinstance(prompt, str | Path):
            prompt = read_mask(prompt)
        given = None if prompt is None else as_prompt(prompt, size)
        self._objects.check(given, first=self.backend.empty and not self.searched)
        self._position.frame_size = self._position.frame_size or size
        return pixels, given

    def _adapt(self, pixels: Pixels, index: int) -> None:
        """Take new weights where the adapter has some, between two frames."""
        engine = None if self.adapter is None else self.adapter.prepare(pixels, index)
        if engine is None or self.adapter is None:
            return
        self.backend.use(engine)
        if self.adapter.recompute:
            self.backend.encode_again(self.adapter.features)
        if self._locator is not None:
            self._locator.encode_again()

    def _edit_labels(self, change: NDArray[np.float32]) -> None:
        """Objects came or went: the channels of all that is remembered change."""
        self.backend.edit_labels(change)
        if self._locator is not None:
            self._locator.edit_labels(change, self.object_ids)

    def _close_locator(self) -> None:
        if self._locator is not None:
            self._locator.close()

    def _open_locator(self, size: Size) -> Locator:
        """What chooses the part of each frame to compute: made with the first frame, whose size is (H, W)."""
        self._close_locator()
        self._locator = open_locator(self.options.size or size, self.backend)
        self._locator.set_quality(self._quality)
        return self._locator

    def _predict(self, features: Features, locator: Locator, given: AnyPrompt | None) -> Prediction:
        """Soft labels of the frame: from the context, from the prompt, or from both."""
        grid, fine = grid_size(*features.view.size), features.view.finer(self.settings.label_scale)
        if self.backend.empty:
            assert given is not None
            self._objects.start(given)
            self._position.cells_and_channels = features.view.cells, features.channels
            return self.backend.label(features, fine.part(self._objects.soft(given, grid, self.settings)[0]))
        prediction = locator.revise(self.backend.propagate(features, self._search(locator, measured=given is None)))
        if not isinstance(given, MaskPrompt):
            return prediction
        change = self._objects.add(given.ids)
        if change is not None:
            self._edit_labels(change)
        painted, known = self._objects.soft(given, grid, self.settings)
        painted, known = fine.part(painted), fine.part(known[None])[0]
        return self.backend.label(features, self._objects.corrected(prediction.fine, given, painted, known))

    def _search(self, locator: Locator, measured: bool) -> Search:
        """How the context is searched for the next frame."""
        settings, newest = self._quality.reduced(self._monitor.search(self.settings), locator.everywhere)
        # The expected overlap is that of masks; a joint has its own measure.
        entropy = measured and self.options.confidence and not self.joint_names
        return Search(settings, newest, entropy, support=settings.cells is not None)

    def _nothing(self, frame: Frame) -> LabelMap:
        """The label map of a frame while nothing was found yet."""
        self.stages_ms = dict.fromkeys(("encode", "propagate", "output"), 0.0)
        return nothing_found(frame, self._position.advance(frame.index), self.searched)

    def _report(
        self, prediction: Prediction, pixels: Pixels, given: AnyPrompt | None, source: Frame | None
    ) -> LabelMap:
        """The label map of a frame, with what is said of each object."""
        size, ids = (pixels.shape[0], pixels.shape[1]), self.object_ids
        labels = prediction.ids(ids, size)
        if isinstance(given, MaskPrompt):
            labels = given.overlay(labels)
        joints = self._objects.joints(prediction.features.view.embed(prediction.soft), size, given)
        measured = self.options.confidence and given is None and joints is None
        confidence = expected_overlap(prediction, ids) if measured else {}
        if given is not None:
            self._monitor.prompted(given.ids)
        missing = () if self._locator is None else self._locator.missing
        states = self._monitor.judge(ids, confidence, self._objects.present(labels, joints, missing))
        frame = source or Frame(pixels, self._position.index)
        return LabelMap(
            labels, self._position.index, ids, prediction.soft, frame.pts, pixels, source.index if source else None, confidence,
            states, joints, frame.name, frame.time,
        )  # fmt: skip
