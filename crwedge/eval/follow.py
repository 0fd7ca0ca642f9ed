"""Propagate a prompt through the frames of a clip, for scoring.

Encoder and propagation are those of `Tracker.step`. Features can come from a cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.images import check_frame, grid_size, resize_frame, size_text
from crwedge.core.labels import LabelMap
from crwedge.core.pictures import PictureSequence, read_picture
from crwedge.core.prompts import Prompt
from crwedge.core.settings import PropagationSettings
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.feature_cache import FeatureCache
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.backends.open import backend_of
from crwedge.runtime.propagation.label_grid import repeated
from crwedge.runtime.propagation.propagate import propagate_masks, propagate_soft
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Follower:
    """Encoder, propagation settings and computing size; can be pickled."""

    encoder: EncoderSpec
    settings: PropagationSettings = field(default_factory=PropagationSettings)
    size: tuple[int, int] | None = None
    """(H, W) to compute at; None: the size of the frame."""
    threads: int | None = None
    """None: all processors that this process may use."""
    cache: FeatureCache | None = None
    """Stores features between runs."""

    def protocol(self, preset: str | None = None) -> dict[str, Any]:
        """Encoder, settings and size, for the protocol of a score."""
        return {
            "encoder": self.encoder.describe(),
            "engine": self.encoder.engine,
            "preset": preset,
            "settings": self.settings.to_dict(),
            "size": None if self.size is None else f"{self.size[0]}x{self.size[1]}",
        }

    def features(self, frames: Sequence[Path]) -> Iterator[Features]:
        """Features (C, h, w) of each frame, from the cache if they are stored."""
        if self.cache is None:
            yield from self._encode(frames)
        else:
            key_parts = [str(self.encoder.describe()["sha256"]), self.encoder.kind, str(self.size)]
            yield from self.cache.read(frames, key_parts, lambda: self._encode(frames))

    def masks(
        self, frames: Sequence[Path], mask: NDArray[np.uint8], hidden: Collection[int] = ()
    ) -> Iterator[NDArray[np.uint8]]:
        """Propagate the mask of the first frame.

        Args:
            frames: files of the frames.
            mask: (H, W) ids of the first frame, 0 background.
            hidden: see `propagate_masks`.

        Yields:
            (H, W) ids of every frame but the first.
        """
        if self.settings.cells is not None:
            # A region has no features of whole frames that could be stored.
            return (
                np.where(np.isin(labels.ids, tuple(hidden)), 0, labels.ids) for labels, _ in self.track(frames, mask)
            )
        features = self.features(frames)
        masks = propagate_masks(features, mask, settings=self.settings, workers=self.threads, hidden=hidden)
        return itertools.islice(masks, 1, None)

    def track(self, frames: Sequence[Path], mask: NDArray[np.uint8]) -> Iterator[tuple[LabelMap, float]]:
        """Label every frame but the first with the tracker itself, as `crwedge track` does.

        Args:
            frames: files of the frames.
            mask: (H, W) ids of the first frame, 0 background.

        Yields:
            The label map of each frame, and the milliseconds that it took.
        """
        backend = backend_of(self.encoder.open(self.threads), self.settings, self.threads)
        with Tracker(backend, TrackerOptions(self.size, confidence=self.settings.cells is not None)) as tracker:
            pictures = PictureSequence(list(frames))
            for number in range(len(frames)):
                labels = tracker.step(pictures.read(number), mask if number == 0 else None)
                if number:
                    yield labels, sum(tracker.stages_ms.values())

    def soft(self, frames: Sequence[Path], prompt: Prompt) -> Iterator[NDArray[np.float32]]:
        """Propagate the prompt of the first frame; yields the soft labels (K, h * s, w * s) of every other frame."""
        if self.settings.cells is not None:
            raise SettingError("keypoints need whole frames: choose a preset without a cell budget, such as crw")
        first_soft = repeated(prompt.soft(grid_size(*(self.size or prompt.size))), self.settings.label_scale)
        labels = propagate_soft(self.features(frames), first_soft, self.settings, self.threads)
        return itertools.islice(labels, 1, None)

    def _encode(self, frames: Sequence[Path]) -> Iterator[Features]:
        engine: Engine = self.encoder.open(self.threads)
        try:
            yield from encode(engine, frames, self.size)
        finally:
            engine.close()


def encode(engine: Engine, frames: Iterable[Path], size: tuple[int, int] | None) -> Iterator[Features]:
    """Read each frame, resize it to `size` = (H, W) and encode it: (C, h, w) float32, unit length over C."""
    shape: tuple[int, ...] | None = None
    files = list(frames)
    pictures = PictureSequence(files)
    for number, path in enumerate(files):
        frame = check_frame(pictures.read(number))
        if shape is not None and frame.shape != shape:
            raise SourceError(
                f"{path} is {size_text(frame.shape)} (height x width), the frames before it {size_text(shape)}"
            )
        shape = frame.shape
        yield engine.run(resize_frame(frame, size) if size else frame)


def read_frame(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) of a picture; SourceError names the file."""
    return check_frame(read_picture(path))
