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
from crwedge.train.objects import cover, draw_layer, overlay
from crwedge.train.views import Geometry, cut_views, draw_maps
from crwedge.train.warps import draw_warps

Place = tuple[int, int, int]
"""(step, part of the mixture, place of the clip in the whole batch)."""


@dataclass
class Batch:
    """Clips of one micro-step."""

    views: Tensor
    """(B, V, 3, S, S) uint8: V = T, or T + 1 with own views (the last is frame 1 again)."""
    maps: Tensor
    """(B, L, V, 2, 3) float64, view pixels to frame pixels; layer 0 is the clip, the others are objects over it."""
    colours: Tensor
    """(B, V, 8) float32: brightness, contrast, saturation, three gains, grey or not, width of the blur."""
    seeds: Tensor
    """(B,) int64: what is drawn on the device for a clip (jitter, dropout) follows from its seed alone."""
    broken: dict[str, str]
    """Files found unreadable on the way."""
    warps: Tensor | None = None
    """(B, L, V, 2, G, G) float64 control displacements, where views are warped."""
    owner: Tensor | None = None
    """(B, V, S, S) uint8: the layer that each pixel shows, where something may hide it."""

    def geometry(self, view: int) -> Geometry:
        """How one view of each clip was made."""
        return Geometry(
            self.maps[:, :, view],
            None if self.warps is None else self.warps[:, :, view],
            None if self.owner is None else self.owner[:, view],
        )

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(
            self.views.to(device, non_blocking=True),
            self.maps.to(device, non_blocking=True),
            self.colours.to(device, non_blocking=True),
            self.seeds,
            self.broken,
            None if self.warps is None else self.warps.to(device),
            None if self.owner is None else self.owner.to(device),
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
        warps = draw_warps(rng, len(maps), self.config.size, self.config.warp) if self.config.warp else None
        count = len(frames)
        if len(maps) > count:
            frames = [*frames, frames[0]]
        views = _cut(frames, maps, self.config.size, warps)
        layers = [draw_layer(rng, self.source.frame(rng), count, self.config) for _ in range(self.config.objects)]
        owner: Tensor | None = None
        if layers or self.config.motion_blur or self.config.occlude:
            views, owner = overlay(rng, views, layers, self.config)
            if self.config.occlude:
                cover(rng, views, owner, self.source.frame(rng), self.config)
        seeds = torch.tensor([int(rng.integers(2**62))])
        return Batch(
            views[None],
            _layered([maps, *(layer.maps for layer in layers)]),
            torch.from_numpy(colours)[None],
            seeds,
            dict(self.source.broken),
            None if warps is None else _layered([warps, *(layer.warps for layer in layers)]),
            None if owner is None else owner[None],
        )


def _layered(parts: list[np.ndarray | None]) -> Tensor:
    """Layers (V, ...) of one clip as a batch (1, L, V, ...)."""
    return torch.from_numpy(np.stack([part for part in parts if part is not None]))[None]


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


def _cut(frames: list[np.ndarray], maps: np.ndarray, size: int, warps: np.ndarray | None) -> Tensor:
    # One frame repeated is converted once.
    if all(frame is frames[0] for frame in frames):
        picture = torch.from_numpy(np.ascontiguousarray(frames[0]))[None].expand(len(maps), -1, -1, -1)
    else:
        picture = torch.from_numpy(np.stack(frames))
    return cut_views(picture, maps, size, warps)


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
        torch.cat(warps) if (warps := [clip.warps for clip in clips if clip.warps is not None]) else None,
        torch.cat(owner) if (owner := [clip.owner for clip in clips if clip.owner is not None]) else None,
    )
