"""Follow labels through the frames of a clip: the runtime's parts, joined for scoring.

The same encoder, context and propagation as `Tracker.step`, but features come from any iterator, so that a study can
read them from its cache, and labels may be joints as well as masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.images import check_frame, grid_size, resize_frame
from crwedge.core.pictures import PictureSequence, read_picture
from crwedge.core.settings import PropagationSettings
from crwedge.core.start import MaskStart, Start
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.feature_cache import FeatureCache
from crwedge.eval.sweep import sweep_features
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.propagation.propagator import labels_to_ids, propagate_features

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Follower:
    """How clips are followed: encoder, settings, computing size. Small enough to hand to another process."""

    encoder: EncoderSpec
    settings: PropagationSettings = field(default_factory=PropagationSettings)
    size: tuple[int, int] | None = None
    """(H, W) to compute at; None computes at the frame's own size."""
    threads: int | None = None
    """None: every processor this process may use."""
    cache: FeatureCache | None = None
    """Where features are kept between runs."""

    def protocol(self, preset: str | None = None) -> dict[str, Any]:
        """What belongs to a score: encoder, settings, size."""
        return {
            "encoder": self.encoder.describe(),
            "engine": self.encoder.engine,
            "preset": preset,
            "settings": self.settings.to_dict(),
            "size": None if self.size is None else f"{self.size[0]}x{self.size[1]}",
        }

    def features(self, frames: Sequence[Path]) -> Iterator[Features]:
        """(C, h, w) of each frame, from the cache where they are known."""
        if self.cache is None:
            yield from self._encode(frames)
        else:
            words = [str(self.encoder.describe()["sha256"]), self.encoder.kind, str(self.size)]
            yield from self.cache.read(frames, words, lambda: self._encode(frames))

    def masks(
        self, frames: Sequence[Path], mask: NDArray[np.uint8], never: tuple[int, ...] = ()
    ) -> Iterator[NDArray[np.uint8]]:
        """Follow the ids of `mask` (H, W), which belongs to the first frame.

        Args:
            frames: the frames' files.
            mask: ids of the first frame, 0 the background.
            never: ids that are followed, so that they take no other's place, but are not given out.

        Yields:
            (H, W) ids for every frame but the first.
        """
        start = MaskStart(mask)
        kept = [0, *(n for n, i in enumerate(start.ids, start=1) if i not in never)]
        shown = tuple(i for i in start.ids if i not in never)
        for labels in self.soft(frames, start):
            chosen = labels if len(kept) == len(labels) else np.ascontiguousarray(labels[kept])
            yield labels_to_ids(chosen, shown, start.size, self.settings.output_norm)

    def soft(self, frames: Sequence[Path], start: Start) -> Iterator[NDArray[np.float32]]:
        """Follow what is given with the first frame; yields the soft labels (K, h, w) of every frame but that."""
        first = start.soft(grid_size(*(self.size or start.size)))
        labels = propagate_features(self.features(frames), first, self.settings, self.threads)
        yield from itertools.islice(labels, 1, None)

    def sweep(
        self, frames: Sequence[Path], start: MaskStart, points: Mapping[str, PropagationSettings]
    ) -> Iterator[dict[str, NDArray[np.uint8]]]:
        """Follow a mask under several settings at once; yields label -> ids (H, W) for every frame, the first too."""
        first = start.soft(grid_size(*(self.size or start.size)))
        for found in sweep_features(self.features(frames), first, points, self.threads):
            yield {
                label: labels_to_ids(soft, start.ids, start.size, points[label].output_norm)
                for label, soft in found.items()
            }

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
                f"{path} is {frame.shape[1]}x{frame.shape[0]}, the frames before it {shape[1]}x{shape[0]}"
            )
        shape = frame.shape
        yield engine.run(resize_frame(frame, size) if size else frame)


def read_frame(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) of a picture; SourceError names the file."""
    return check_frame(read_picture(path))
