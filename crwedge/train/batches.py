"""Batches that are a function of seed and step: the same after a resume, and however many processes cut them."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from crwedge.train.clips import ClipSource
from crwedge.train.config import TrainConfig
from crwedge.train.views import cover, cut_views, draw_boxes, draw_maps

Place = tuple[int, int, int]
"""(step, part of the mixture, place of the clip in the whole batch)."""


@dataclass
class Batch:
    """Clips of one micro-step."""

    views: Tensor
    """(B, V, 3, S, S) uint8: V = T, or T + 1 with own views (the last is frame 1 again)."""
    maps: Tensor
    """(B, V, 2, 3) float64, view pixels to frame pixels."""
    colours: Tensor
    """(B, V, 8) float32: brightness, contrast, saturation, three gains, grey or not, width of the blur."""
    seeds: Tensor
    """(B,) int64: what is drawn on the device for a clip (jitter, dropout) follows from its seed alone."""
    broken: dict[str, str]
    """Files found unreadable on the way."""
    boxes: Tensor | None = None
    """(B, V, pieces, 4) int64 pixels that another frame covers, where views are covered."""
    others: Tensor | None = None
    """(B, V, 2, 3) float64 maps of that other frame, view pixels to its pixels."""

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(
            self.views.to(device, non_blocking=True),
            self.maps.to(device, non_blocking=True),
            self.colours.to(device, non_blocking=True),
            self.seeds,
            self.broken,
            None if self.boxes is None else self.boxes.to(device),
            None if self.others is None else self.others.to(device),
        )


class Clips(Dataset[Batch]):
    """Clips by place."""

    def __init__(self, source: ClipSource, config: TrainConfig) -> None:
        """Draw from `source`."""
        self.source, self.config = source, config

    def __getitem__(self, place: Place) -> Batch:
        """One clip as a batch of one."""
        step, number, slot = place
        rng = np.random.default_rng((self.config.seed, step, slot))
        part = self.config.parts[number]
        frames = self.source.clip(rng, part)
        maps = draw_maps(rng, (frames[0].shape[0], frames[0].shape[1]), len(frames), self.config)
        colours = draw_colours(rng, len(maps), self.config)
        if len(maps) > len(frames):
            frames = [*frames, frames[0]]
        views = _cut(frames, maps, self.config.size)
        seeds = torch.tensor([int(rng.integers(2**62))])
        broken = dict(self.source.broken)
        batch = Batch(views[None], torch.from_numpy(maps)[None], torch.from_numpy(colours)[None], seeds, broken)
        if self.config.occlude > 0:
            other = self.source.frame(rng)
            others = draw_maps(rng, (other.shape[0], other.shape[1]), len(frames) - 1, self.config)
            boxes = draw_boxes(rng, others, self.config)
            cover(views, _cut([other], others, self.config.size), boxes)
            batch.boxes, batch.others = torch.from_numpy(boxes)[None], torch.from_numpy(others)[None]
        return batch


def draw_colours(rng: np.random.Generator, count: int, config: TrainConfig) -> np.ndarray:
    """Colour jitter (V, 8) float32; shared views share it, blur is drawn for each frame."""
    table = np.zeros((count, 8), np.float32)
    for row in range(count):
        strength = config.colour
        table[row, :3] = 1 + rng.uniform(-strength, strength, 3)
        table[row, 3:6] = 1 + rng.uniform(-strength / 4, strength / 4, 3)
        table[row, 6] = rng.random() < config.grey
        table[row, 7] = rng.uniform(0.5, 2.0) * (rng.random() < config.blur)
    if config.views == "shared":
        table[:, :7] = table[0, :7]
    return table


def choose_part(step: int, config: TrainConfig) -> int:
    """Which part of the mixture a step takes: shares are kept as evenly as whole steps allow, without chance."""
    shares = np.array([part.share for part in config.parts])
    shares = shares / shares.sum()
    # Golden-ratio steps fill 0..1 evenly, so that every stretch of steps holds the parts by their shares.
    place = (step * 0.6180339887498949 + 0.5) % 1.0
    return min(int(np.searchsorted(np.cumsum(shares), place, side="right")), len(shares) - 1)


def batches(
    source: ClipSource, config: TrainConfig, *, start: int, rank: int = 0, world: int = 1, stop: int | None = None
) -> Iterator[Batch]:
    """Yield this rank's micro-batches from step `start` on, `config.accumulate` a step.

    A step's batch is divided by place: micro-step first, then rank.
    """
    with warnings.catch_warnings():
        # Workers wait for files as well as compute; how many is a setting, on one processor too.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            Clips(source, config),
            batch_sampler=_Places(config, start, rank, world, stop),
            num_workers=config.workers,
            collate_fn=_join,
            prefetch_factor=3 if config.workers else None,
            persistent_workers=False,
            multiprocessing_context="fork" if config.workers else None,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_own_signals,
        )
        ready = iter(loader)
    yield from ready


class _Places:
    """The places of each micro-batch, without end."""

    def __init__(self, config: TrainConfig, start: int, rank: int, world: int, stop: int | None) -> None:
        self.config, self.start, self.rank, self.world, self.stop = config, start, rank, world, stop

    def __iter__(self) -> Iterator[list[Place]]:
        step = self.start
        while self.stop is None or step < self.stop:
            number = choose_part(step, self.config)
            share = self.config.parts[number].batch // (self.config.accumulate * self.world)
            for micro in range(self.config.accumulate):
                first = (micro * self.world + self.rank) * share
                yield [(step, number, first + index) for index in range(share)]
            step += 1


def _own_signals(worker: int) -> None:
    # A Ctrl-C goes to every process of the terminal; the trainer alone decides when workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cut(frames: list[np.ndarray], maps: np.ndarray, size: int) -> Tensor:
    # One frame repeated is converted once.
    if all(frame is frames[0] for frame in frames):
        picture = torch.from_numpy(np.ascontiguousarray(frames[0]))[None].expand(len(maps), -1, -1, -1)
    else:
        picture = torch.from_numpy(np.stack(frames))
    return cut_views(picture, maps, size)


def _join(clips: list[Batch]) -> Batch:
    broken: dict[str, str] = {}
    for clip in clips:
        broken.update(clip.broken)
    return Batch(
        torch.cat([clip.views for clip in clips]),
        torch.cat([clip.maps for clip in clips]),
        torch.cat([clip.colours for clip in clips]),
        torch.cat([clip.seeds for clip in clips]),
        broken,
        torch.cat(boxes) if (boxes := [clip.boxes for clip in clips if clip.boxes is not None]) else None,
        torch.cat(others) if (others := [clip.others for clip in clips if clip.others is not None]) else None,
    )
