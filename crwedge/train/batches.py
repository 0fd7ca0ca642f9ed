"""Batches that are a function of seed and step: the same after a resume, and however many processes cut them."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing import active_children

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from crwedge.core.errors import UserError
from crwedge.train.clips import ClipSource
from crwedge.train.config import TrainConfig
from crwedge.train.objects import draw_layer, overlay, paste_boxes
from crwedge.train.views import Geometry, cut_views, draw_maps
from crwedge.train.views_config import ViewsConfig
from crwedge.train.warps import draw_warps
from crwedge.train.workers import START_METHOD, ignore_stop_signals, one_line_of_death

Place = tuple[int, int]
"""(step, place of the clip in the whole batch)."""


@dataclass
class Batch:
    """Clips of one step."""

    views: Tensor
    """(B, V, 3, S, S) uint8: V = T, or T + 1 with own views (the last is frame 1 again)."""
    maps: Tensor
    """(B, L, V, 2, 3) float64, view pixels to frame pixels; layer 0 is the clip, the others are objects over it."""
    colours: Tensor
    """(B, V, 7) float32: brightness, contrast, saturation, three gains, width of the blur."""
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


class Clips(Dataset[Batch | UserError]):
    """Clips by place.

    Args:
        source: what clips are drawn from.
        config: the settings of the views.
        seed: of the run.
    """

    def __init__(self, source: ClipSource, config: ViewsConfig, seed: int) -> None:
        self.source, self.config, self.seed = source, config, seed

    def __getitem__(self, place: Place) -> Batch | UserError:
        """One clip as a batch of one; an error is given as a value, so that a worker adds no traceback to it."""
        try:
            return self._draw(np.random.default_rng((self.seed, *place)))
        except UserError as error:
            return error

    def _draw(self, rng: np.random.Generator) -> Batch:
        config = self.config
        frames = self.source.clip(rng)
        maps = draw_maps(rng, (frames[0].shape[0], frames[0].shape[1]), len(frames), config)
        colours = draw_colours(rng, len(maps), config)
        warps = draw_warps(rng, len(maps), config.size, config.warp) if config.warp else None
        count = len(frames)
        if len(maps) > count:
            frames = [*frames, frames[0]]
        views = _cut(frames, maps, config.size, warps)
        layers = [draw_layer(rng, self.source.frame(rng), count, config) for _ in range(config.objects)]
        owner: Tensor | None = None
        if layers or config.motion_blur or config.cutmix:
            views, owner = overlay(rng, views, layers, config)
            if config.cutmix:
                paste_boxes(rng, views, owner, self.source.frame(rng), config)
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


def draw_colours(rng: np.random.Generator, count: int, config: ViewsConfig) -> np.ndarray:
    """Colour jitter (V, 7) float32; shared views share it, blur is drawn for each frame."""
    table = np.zeros((count, 7), np.float32)
    for row in range(count):
        strength = config.colour
        table[row, :3] = 1 + rng.uniform(-strength, strength, 3)
        table[row, 3:6] = 1 + rng.uniform(-strength / 4, strength / 4, 3)
        table[row, 6] = rng.uniform(0.5, 2.0) * (rng.random() < config.blur)
    if config.mode == "shared":
        table[:, :6] = table[0, :6]
    return table


def batches(
    source: ClipSource, config: TrainConfig, *, start: int, rank: int = 0, world: int = 1, stop: int | None = None
) -> Generator[Batch, None, None]:
    """Yield this rank's part of each step's batch, from step `start` on.

    Args:
        source: what clips are drawn from.
        config: all settings: batch, workers, views and seed are used.
        start: first step.
        rank: this process.
        world: number of processes.
        stop: step to end before; None: no end.

    Raises:
        UserError: no clip can be drawn any more.
        LoaderError: a worker was ended from outside.
    """
    workers = config.data.workers
    before = signal.getsignal(signal.SIGCHLD)
    with warnings.catch_warnings():
        # Workers wait for files as well as compute; how many is a setting, on one processor too.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            Clips(source, config.views, config.run.seed),
            batch_sampler=_Places(config.data.batch // world, start, rank, stop),
            num_workers=workers,
            collate_fn=_join,
            prefetch_factor=3 if workers else None,
            persistent_workers=False,
            multiprocessing_context=START_METHOD if workers else None,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=ignore_stop_signals,
        )
        others = active_children()
        ready = iter(loader)
    children = [child for child in active_children() if child not in others]
    raising = signal.getsignal(signal.SIGCHLD)
    own = workers and raising is not before and threading.current_thread() is threading.main_thread()
    try:
        if own:
            # PyTorch's handler raises wherever the trainer is, in the middle of a checkpoint too; the loader itself asks
            # every few seconds whether its workers live.
            signal.signal(signal.SIGCHLD, before)
        while True:
            with one_line_of_death():
                batch = next(ready, None)
            if batch is None:
                return
            if isinstance(batch, UserError):
                raise batch
            yield batch
    finally:
        del ready  # asks the workers to end
        for child in children:
            if child.is_alive():
                child.kill()
        if own:
            signal.signal(signal.SIGCHLD, raising)


class _Places:
    """The places of this rank's clips, step by step."""

    def __init__(self, share: int, start: int, rank: int, stop: int | None) -> None:
        self.share, self.start, self.rank, self.stop = share, start, rank, stop

    def __iter__(self) -> Iterator[list[Place]]:
        step = self.start
        while self.stop is None or step < self.stop:
            yield [(step, self.rank * self.share + index) for index in range(self.share)]
            step += 1


def _cut(frames: list[np.ndarray], maps: np.ndarray, size: int, warps: np.ndarray | None) -> Tensor:
    # One frame repeated is converted once.
    if all(frame is frames[0] for frame in frames):
        picture = torch.from_numpy(np.ascontiguousarray(frames[0]))[None].expand(len(maps), -1, -1, -1)
    else:
        picture = torch.from_numpy(np.stack(frames))
    return cut_views(picture, maps, size, warps)


def _join(drawn: list[Batch | UserError]) -> Batch | UserError:
    error = next((clip for clip in drawn if isinstance(clip, UserError)), None)
    if error is not None:
        return error
    clips = [clip for clip in drawn if isinstance(clip, Batch)]
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
