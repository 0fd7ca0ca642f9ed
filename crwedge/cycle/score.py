"""How well an encoder follows regions through unlabelled footage: cycle consistency with a known answer.

A clip f_1 .. f_T is followed forwards as it was filmed, and backwards through frames that a known warp deforms more and
more: f_T, w_(T-1)(f_(T-1)), .., w_1(f_1). A region of f_1 must come back where w_1 puts it. The first frame is forgotten on
the way back, so the answer cannot be read from it. Objects of other footage cross the clip, so that a region is found
again only by what it looks like. The score is the mean J of the regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.film import render_film
from crwedge.core.images import grid_size
from crwedge.core.labels import region_iou, soft_labels
from crwedge.core.settings import PropagationSettings
from crwedge.cycle.footage import shrunk
from crwedge.cycle.regions import pseudo_regions
from crwedge.cycle.synthetic import Occluder, draw_occluder, draw_warp, warped
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.propagation.propagate import propagate_soft
from crwedge.runtime.propagation.propagator import labels_to_ids

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class CycleSettings:
    """Protocol of the score."""

    frames: int = 7
    """T: frames of a clip."""
    rate: float = 4.0
    """Frames a second of a clip."""
    short_side: int = 240
    """Frames are computed at this short side, in pixels."""
    regions: int = 6
    """Regions of a clip, at most."""
    strength: float = 1.0
    """Of the warps; 1 moves, turns, scales and bends clearly from frame to frame."""
    occluders: int = 1
    """Objects of other footage that cross each clip."""
    seed: int = 0

    @property
    def propagation(self) -> PropagationSettings:
        """The protocol of propagation: short context, everything within the disc."""
        return PropagationSettings(context_length=5, first_frame="restricted")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CycleScore:
    """Cycle consistency of an encoder over clips."""

    clips: tuple[float, ...]
    """Mean J of the regions of each clip, 0 to 1."""
    regions: int
    """Regions scored."""

    @property
    def mean(self) -> float:
        """Over the clips."""
        return float(np.mean(self.clips))

    @property
    def error(self) -> float:
        """Standard error of the mean over clips."""
        return float(np.std(self.clips, ddof=1) / math.sqrt(len(self.clips))) if len(self.clips) > 1 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"mean": self.mean, "error": self.error, "clips": len(self.clips), "regions": self.regions}


@dataclass(frozen=True)
class Difference:
    """Two encoders on the same clips."""

    mean: float
    """Score of the first minus that of the second, 0 to 1."""
    error: float
    """Standard error of the mean over clips, paired."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def sentence(self, first: str, second: str) -> str:
        """The conclusion: which of the two is better, and by how many points."""
        points = f"{100 * abs(self.mean):.1f} +- {100 * self.error:.1f} points"
        if abs(self.mean) < 2 * self.error:
            return f"{first} and {second} do not differ significantly on this footage ({points})"
        better, worse = (first, second) if self.mean > 0 else (second, first)
        return f"{better} is better than {worse} on this footage, by {points}"


def compared(first: CycleScore, second: CycleScore) -> Difference:
    """Set two scores of the same clips beside each other."""
    parts = np.subtract(first.clips, second.clips)
    return Difference(float(parts.mean()), float(parts.std(ddof=1) / math.sqrt(len(parts))))


def rendered_clips(settings: CycleSettings, count: int) -> list[list[Frame]]:
    """Clips of rendered films, where there is no footage."""
    side = settings.short_side
    return [
        list(render_film(settings.frames, side, side * 16 // 9, seed=500 + number, rate=settings.rate).frames)
        for number in range(count)
    ]


def cycle_score(
    engine: Engine, clips: Sequence[Sequence[Frame]], settings: CycleSettings | None = None, workers: int | None = None
) -> CycleScore:
    """Score an encoder on clips of unlabelled frames.

    Args:
        engine: the encoder.
        clips: each T frames, RGB uint8 (H, W, 3); what is drawn for a clip depends on its place and the seed alone.
        settings: the protocol.
        workers: threads of propagation.

    Returns:
        The score of each clip that has a region which can be followed.
    """
    settings = settings or CycleSettings()
    clips = [[shrunk(frame, settings.short_side) for frame in clip[: settings.frames]] for clip in clips]
    scores, count = [], 0
    for number, clip in enumerate(clips):
        rng = np.random.default_rng((settings.seed, number))
        other = clips[(number + 1 + int(rng.integers(max(len(clips) - 1, 1)))) % len(clips)][0]
        found = _clip_scores(engine, clip, other, rng, settings, workers)
        if found:
            scores.append(float(np.mean(found)))
            count += len(found)
    return CycleScore(tuple(scores), count)


def _clip_scores(
    engine: Engine,
    clip: Sequence[Frame],
    other: Frame,
    rng: np.random.Generator,
    settings: CycleSettings,
    workers: int | None,
) -> list[float]:
    """J of each region of one clip."""
    size = clip[0].shape[0], clip[0].shape[1]
    mask = pseudo_regions(clip[0], rng, settings.regions)
    path = draw_warp(rng, size, settings.strength)
    occluders = [draw_occluder(rng, size) for _ in range(settings.occluders)]
    truth = path.mask(mask, 1.0)
    ids = tuple(
        int(one) for one in range(1, int(mask.max()) + 1) if (truth == one).sum() > 0.5 * (mask == one).sum() > 0
    )
    if not ids:
        return []
    last = len(clip) - 1
    forth = [_crossed(frame, occluders, other, t / (2 * last)) for t, frame in enumerate(clip)]
    back = [
        _crossed(warped(clip[t], path, (last - t) / last), occluders, other, (2 * last - t) / (2 * last))
        for t in range(last - 1, -1, -1)
    ]
    grid = grid_size(*size)
    soft, _ = soft_labels(mask, ids, grid)
    protocol = settings.propagation
    features = [engine.run(frame) for frame in forth]
    *_, soft = propagate_soft(features, soft, protocol, workers)
    features = [features[-1], *(engine.run(frame) for frame in back)]
    *_, soft = propagate_soft(features, soft, protocol, workers)
    found = labels_to_ids(soft, ids, size)
    known = path.inside(1.0)
    return [float(one) for one in region_iou(np.where(known, found, 0), np.where(known, truth, 0), ids)]


def _crossed(frame: Frame, occluders: Sequence[Occluder], other: Frame, time: float) -> Frame:
    for occluder in occluders:
        frame = occluder.over(frame, other, time)
    return frame
