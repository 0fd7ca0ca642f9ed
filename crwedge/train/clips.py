"""Where clips come from: files decoded when needed, frames cached in memory, rendered scenes, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.images import resize_frame
from crwedge.core.pictures import sequence_of
from crwedge.train.data_config import DataConfig
from crwedge.train.dataset_index import DatasetIndex, Item
from crwedge.train.decode import video_clip

Frame = NDArray[np.uint8]


class FrameArray(Protocol):
    """Frames of one video: an array (n, H, W, 3), or what reads them from a file."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, index: int) -> Frame:
        """One frame, RGB uint8 (H, W, 3)."""
        ...


class ClipSource(Protocol):
    """Draws clips. Everything random comes from `rng`, so that a clip is a function of seed, step and place."""

    broken: dict[str, str]
    """Files found unreadable so far, with the reason."""

    def clip(self, rng: np.random.Generator) -> list[Frame]:
        """`clip_length` frames, RGB uint8 (H, W, 3), all of one size."""
        ...

    def frame(self, rng: np.random.Generator) -> Frame:
        """One whole frame (H, W, 3)."""
        ...


@dataclass
class FileClips:
    """Clips decoded from files when they are needed.

    Args:
        videos: items that clips are drawn from.
        images: photographs.
        config: the settings of the data.
        broken: files that turned out unreadable, by name, with the reason.
    """

    videos: DatasetIndex
    images: DatasetIndex
    config: DataConfig
    broken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Split by what clips can be drawn from."""
        weights = self.videos.weights(self.config.weights, self.config.length_power)
        pairs = list(zip(self.videos.items, weights, strict=True))
        self._moving = WeightedSampler([(item, weight) for item, weight in pairs if not item.still])
        photographs = [(item, 1.0) for item in self.images.items]
        self._single = WeightedSampler([(item, weight) for item, weight in pairs if item.still] + photographs)

    def clip(self, rng: np.random.Generator) -> list[Frame]:
        """A clip; files that cannot be read are added to `broken` and another one is drawn."""
        return self._clip(rng, self.config.clip_length, self.config.stills, self.config.frame_rates)

    def frame(self, rng: np.random.Generator) -> Frame:
        """One frame, for statistics."""
        return self._clip(rng, 1, 0.0 if self._moving.items else 1.0, (8.0,))[0]

    def _clip(self, rng: np.random.Generator, length: int, stills: float, rates: Sequence[float]) -> list[Frame]:
        still = rng.random() < stills or not self._moving.items
        rate = float(rng.choice(rates))
        backwards = rng.random() < self.config.reverse
        for _ in range(50):
            item = (self._single if still and self._single.items else self._moving).draw(rng)
            moment = rng.random()
            if str(item.files[0]) in self.broken:
                continue
            try:
                if still or item.still or math.isinf(rate):
                    frames = self._read(item, [moment * item.seconds]) * length
                else:
                    frames = self._read(item, clip_times(item, length, rate, moment))
            except SourceError as error:
                self.broken[str(item.files[0])] = str(error)
                continue
            return _one_size(frames[::-1] if backwards else frames)
        raise SourceError("50 files in a row could not be read; check the data")

    def _read(self, item: Item, times: Sequence[float]) -> list[Frame]:
        if item.video:
            return video_clip(item.files[0], times, self.config.short_side)
        places = [min(int(time * item.rate), len(item.files) - 1) for time in times]
        pictures = sequence_of(item.files)
        return [pictures.read(place, self.config.short_side) for place in places]


@dataclass
class CachedClips:
    """Clips cut from frames that were decoded before.

    Args:
        videos: two frames each, or more.
        weights: how often each is drawn.
        rates: frames a second of each.
        images: photographs, one frame each, drawn alike.
        config: the settings of the data.
        broken: always empty: what could not be read is not here.
    """

    videos: Sequence[FrameArray]
    weights: Sequence[float]
    rates: Sequence[float]
    images: Sequence[FrameArray]
    config: DataConfig
    broken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index by number."""
        self._moving = WeightedSampler(list(zip(range(len(self.videos)), self.weights, strict=True)))

    def clip(self, rng: np.random.Generator) -> list[Frame]:
        """A clip; the frame rate is rounded to whole steps between cached frames, one at least."""
        return self._clip(rng, self.config.clip_length, self.config.stills, self.config.frame_rates)

    def frame(self, rng: np.random.Generator) -> Frame:
        """One frame, for statistics."""
        return self._clip(rng, 1, 0.0, (8.0,))[0]

    def _clip(self, rng: np.random.Generator, length: int, stills: float, rates: Sequence[float]) -> list[Frame]:
        still = rng.random() < stills or not self._moving.items
        rate = float(rng.choice(rates))
        backwards = rng.random() < self.config.reverse
        if still and self.images:
            return [self.images[int(rng.integers(len(self.images)))][0]] * length
        number = self._moving.draw(rng)
        video = self.videos[number]
        if still or math.isinf(rate) or length == 1:
            return [video[int(rng.integers(len(video)))]] * length
        gap = max(1, round(self.rates[number] / rate))
        gap = max(1, min(gap, (len(video) - 1) // (length - 1)))
        start = int(rng.integers(max(1, len(video) - gap * (length - 1))))
        frames = [video[min(start + gap * index, len(video) - 1)] for index in range(length)]
        return frames[::-1] if backwards else frames


def clip_times(item: Item, length: int, rate: float, moment: float) -> list[float]:
    """Times of a clip's frames in seconds; one longer than the video is squeezed into it.

    `moment` in 0..1 says where among all places that fit.
    """
    last = max(item.seconds - 1 / item.rate, 0.0)
    span = min((length - 1) / rate, last)
    start = moment * (last - span)
    return [start + span * index / max(length - 1, 1) for index in range(length)]


def noise_clips(config: DataConfig, seed: int, videos: int = 16, frames: int = 16) -> CachedClips:
    """Videos of noise in which nothing corresponds (appendix C): whatever is learnt from them is a shortcut."""
    rng = np.random.default_rng(seed)
    side = config.short_side
    arrays = [rng.integers(0, 256, (frames, side, side, 3), np.uint8) for _ in range(videos)]
    return CachedClips(arrays, [1.0] * videos, [8.0] * videos, [], config)


def scene_clips(config: DataConfig, seed: int, videos: int = 12, frames: int = 24) -> CachedClips:
    """Rendered scenes, for trying things out without any data."""
    from crwedge.core.scene import render_scene

    side = min(config.short_side, 256)
    arrays = [
        render_scene(frames, side, side * 4 // 3, objects=1 + index % 4, seed=1000 + seed * videos + index).frames
        for index in range(videos)
    ]
    return CachedClips(arrays, [1.0] * videos, [24.0] * videos, [], config)


class WeightedSampler:
    """Draws in proportion to weights, with one random number a draw.

    Args:
        pairs: items with their weights; those of weight 0 are never drawn.
    """

    def __init__(self, pairs: Sequence[tuple[object, float]]) -> None:
        self.items = [item for item, weight in pairs if weight > 0]
        total = np.cumsum([weight for _, weight in pairs if weight > 0], dtype=np.float64)
        self._edges = total / total[-1] if len(total) else total

    def draw(self, rng: np.random.Generator) -> Any:
        """One item."""
        return self.items[min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self.items) - 1)]


def _one_size(frames: list[Frame]) -> list[Frame]:
    """Folders may hold pictures of several sizes: they take that of the first."""
    size = (frames[0].shape[0], frames[0].shape[1])
    return [resize_frame(frame, size) for frame in frames]
