"""`TestTimeTrainer`: what a tracker is given so that its encoder goes on learning from the video it tracks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crwedge.adapt.background import WORKER, BackgroundTrainer
from crwedge.adapt.lookahead import LookaheadSource
from crwedge.adapt.priority import giving_way
from crwedge.adapt.settings import TestTimeSettings
from crwedge.adapt.stats import TestTimeStats
from crwedge.adapt.weights import Renewed, encoder_file, encoder_graph, graph_precision, renewed
from crwedge.core.bundle import WEIGHTS, Bundle
from crwedge.core.errors import BundleError, CrwedgeError, MissingExtraError, SettingError
from crwedge.core.images import resize_frame
from crwedge.core.packages import install_command
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.sources.frame import FrameSource

if TYPE_CHECKING:
    from crwedge.adapt.finetune import FineTuner

Picture = NDArray[np.uint8]

_CHECKED = 3
"""Frames on which an adapted encoder is compared with its ONNX file before it is written."""
_ROUNDS = 3
"""How often the context is looked at again for frames that came while the others were encoded."""


class TestTimeTrainer:
    """An adapter (see `crwedge.runtime.adapter`) that fine-tunes the encoder with the training loss.

        trainer = cw.TestTimeTrainer(every=5, updates=100)
        with cw.Tracker.open("walk-r18", adapter=trainer) as tracker, cw.open_source("camera0") as frames:
            for frame in trainer.ahead(frames):
                ...

    Args:
        settings: see `TestTimeSettings`.
        worker: command of the trainer's process.
        changes: settings by name, in place of or on top of `settings`.
    """

    __test__ = False

    def __init__(
        self,
        settings: TestTimeSettings | None = None,
        worker: Sequence[str] = WORKER,
        **changes: Any,
    ) -> None:
        """Nothing starts before a tracker is opened with it. MissingExtraError when PyTorch is not installed."""
        self.settings = (settings or TestTimeSettings()).with_changes(**changes)
        check_installed(self.settings)
        self.stats = TestTimeStats()
        self.recompute = self.settings.context == "recompute"
        self._worker = tuple(worker)
        self._lock = threading.Lock()
        self._seen: dict[int, Picture] = {}
        self._recent: deque[Picture] = deque(maxlen=1)
        self._first: Picture | None = None
        self._known: Renewed | None = None
        self._ahead = self._waits = False
        self._last: int | None = None
        self._tuner: FineTuner | None = None
        self._background: BackgroundTrainer | None = None
        self._bundle: Bundle | None = None
        self._engine: Engine | None = None
        self._precision = ""
        self._threads: int | None = None
        self._size: tuple[int, int] | None = None

    def ahead(self, source: FrameSource) -> FrameSource:
        """The source to track: as it is when causal, m frames behind it with lookahead.

        Frames of a recorded source wait for the window they begin, unless `duty` limits training: else a short film would
        end before anything was learnt.
        """
        self._waits = not source.live and self.settings.duty == 1
        if self.settings.mode == "causal":
            return source
        self._ahead = True
        return LookaheadSource(source, self.settings.m, self.see)

    def see(self, frame: Picture, index: int) -> None:
        """A frame RGB uint8 (H, W, 3) has come, labelled or not."""
        with self._lock:
            if any(other.shape != frame.shape for other in self._seen.values()):
                self._seen.clear()  # a camera changed its size; a window holds one
            self._seen[index] = frame

    def start(
        self, bundle: Bundle, engine: Engine, threads: int | None, size: tuple[int, int] | None, context_length: int
    ) -> None:
        """See `Adapter.start`. BundleError when the bundle has no weights that PyTorch can go on from."""
        if WEIGHTS not in bundle.manifest.files:
            raise BundleError(f"the bundle {bundle.path} holds no {WEIGHTS} to go on learning from; export it again")
        self.close()
        self._bundle, self._engine, self._threads, self._size = bundle, engine, threads, size
        self._recent = deque(maxlen=max(context_length, 1))
        self._precision = graph_precision(engine, bundle.manifest)
        if self.settings.synchronous:
            self._tuner = _open_tuner(bundle, self.settings)
        else:
            self._background = BackgroundTrainer(
                bundle, self.settings, self.stats, self._precision, self._renew, self._worker
            )

    def prepare(self, frame: Picture, index: int) -> Engine | None:
        """See `Adapter.prepare`. Returns at once for a live source, unless the mode is synchronous."""
        if self._bundle is None:
            raise SettingError("the trainer was not started; open the tracker with Tracker.open(..., adapter=trainer)")
        if self.settings.mode == "lookahead" and not self._ahead:
            raise SettingError("lookahead needs the frames to come: track trainer.ahead(source) in place of the source")
        self.see(frame, index)
        window = self._window(index)
        renewed: Renewed | None = None
        due = self._last is None or index - self._last >= self.settings.every
        if due and not self.stats.stopped:
            self._last = index
            if len(window) >= 2 and self._background is not None:
                self._background.offer((index, window))
                if self._waits:
                    self._background.wait()
            elif len(window) >= 2:
                renewed = self._train_now(window, index)
        if self._background is not None:
            renewed = self._background.take()
        with self._lock:
            # This frame joins the context once it is labelled.
            if self._first is None:
                self._first = frame
            self._recent.append(frame)
        self._known = renewed
        if renewed is None:
            return None
        self.stats.swaps += 1
        self._engine = renewed.engine
        return renewed.engine

    def features(self, frame: Picture) -> NDArray[np.float32] | None:
        """See `Adapter.features`."""
        found = None if self._known is None else self._known.features.get(id(frame))
        return None if found is None else found[1]

    def reset(self) -> None:
        """Forget the frames seen; what was learnt stays."""
        with self._lock:
            self._seen.clear()
            self._recent.clear()
            self._first = None
        self._last = None

    def save(self, path: str | Path) -> Bundle:
        """Write the last good weights as a bundle that a later run can start from.

        Raises:
            BundleError: it cannot be written, or nothing was learnt that could be.
        """
        import tempfile

        from crwedge.export.build import export_bundle
        from crwedge.export.test_clips import rendered

        weights = self.weights()
        if not weights:
            raise BundleError(f"no window was learnt from, so there is no adapted encoder to write to {path}")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / WEIGHTS
            file.write_bytes(weights)
            size = None if self._bundle is None else self._bundle.manifest.size
            # The network was checked when it was first exported; a few frames tell whether these weights came through.
            return export_bundle(file, path, size=size, verify=rendered(size, _CHECKED))

    def weights(self) -> bytes:
        """`encoder.safetensors` of the last good weights; empty before the first window was kept."""
        if self._tuner is not None and self._bundle is not None and self.stats.windows:
            return encoder_file(self._tuner.encoder(), self._bundle.manifest, self.stats.updates)
        return b"" if self._background is None else self._background.weights

    def close(self) -> None:
        """End the trainer; the weights and the counts stay to be read."""
        if self._background is not None:
            self._background.close(self._engine)

    def _window(self, index: int) -> list[Picture]:
        """The frames around `index`; those before them are forgotten."""
        m = self.settings.m
        low, high = (index - 2 * m, index) if self.settings.mode == "causal" else (index - m, index + m)
        with self._lock:
            for old in [number for number in self._seen if number < low]:
                del self._seen[old]
            return [self._seen[number] for number in sorted(self._seen) if number <= high]

    def _train_now(self, window: list[Picture], index: int) -> Renewed | None:
        assert self._tuner is not None
        assert self._bundle is not None
        outcome = self._tuner.run(window, index)
        if outcome.undone:
            self.stats.undo(outcome.__dict__, self.settings.rollbacks)
            return None
        begun = time.perf_counter()
        try:
            graph = encoder_graph(self._tuner.encoder(), self._bundle.manifest, self._precision)
            made = Renewed(self._make_engine(graph, window[-1]), {})
        except CrwedgeError as error:
            self.stats.stop(str(error))
            return None
        self.stats.keep(outcome.__dict__, time.perf_counter() - begun)
        return made

    def _renew(self, graph: bytes, frame: Picture) -> Renewed:
        """In the trainer's thread: a new engine, and what it makes of the context, so that no frame waits for that."""
        engine = self._make_engine(graph, frame)
        made = Renewed(engine, {})
        if self.recompute and engine is not self._engine:
            # The engine itself was opened at the usual priority, which its threads keep.
            giving_way(lambda: self._encode_context(engine, made), self.settings.nice)
        return made

    def _encode_context(self, engine: Engine, made: Renewed) -> None:
        for _ in range(_ROUNDS):
            with self._lock:
                wanted = [*([] if self._first is None else [self._first]), *self._recent]
            missing = [image for image in wanted if id(image) not in made.features]
            for image in missing:
                # Laid out as the context keeps them, so that the frame path only copies.
                cells = np.ascontiguousarray(engine.run(self._sized(image)).transpose(1, 2, 0))
                made.features[id(image)] = (image, cells.transpose(2, 0, 1))
            if not missing:
                return

    def _sized(self, frame: Picture) -> Picture:
        return resize_frame(frame, self._size) if self._size else frame

    def _make_engine(self, graph: bytes, frame: Picture) -> Engine:
        assert self._bundle is not None
        assert self._engine is not None
        return renewed(self._bundle, graph, self._engine, self._threads, self._sized(frame))


def check_installed(settings: TestTimeSettings) -> None:
    """MissingExtraError, in one line, when what training needs is not installed. Imports nothing."""
    wanted = ["torch", "safetensors", "onnx", *(["kornia"] if settings.nodes == "patches" else [])]
    for module in wanted:
        if find_spec(module) is None:
            raise MissingExtraError(
                f"test-time training needs {module}, which is not installed: {install_command('train', 'export')}"
            )


def _open_tuner(bundle: Bundle, settings: TestTimeSettings) -> FineTuner:
    from crwedge.adapt.finetune import FineTuner
    from crwedge.model.checkpoint import load_encoder

    bundle.read(WEIGHTS)  # checks the hash
    return FineTuner(load_encoder(bundle.path / WEIGHTS)[0], settings)
