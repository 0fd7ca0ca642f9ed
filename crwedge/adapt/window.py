"""What an update sees: clips drawn from the frames of a window, a function of frames, settings and two numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from crwedge.adapt.settings import TestTimeSettings
from crwedge.model.encoder import EncoderConfig
from crwedge.train.batches import Batch, draw_colours
from crwedge.train.config import TrainConfig
from crwedge.train.views import cut_views, draw_maps

Picture = NDArray[np.uint8]

PROBE = 2**31 - 1
"""Number that stands for the update in the seed of the held clips."""


def loss_config(settings: TestTimeSettings, encoder: EncoderConfig) -> TrainConfig:
    """The settings as a configuration of training. SettingError when they contradict each other."""
    own = settings.nodes == "map"
    return TrainConfig().with_changes(
        nodes=settings.nodes,
        mode="own" if own else "shared",
        architecture=encoder.architecture,
        padding=encoder.padding,
        mean=encoder.mean,
        std=encoder.std,
        stage="res3",
        head=0,
        size=settings.size,
        short_side=settings.short_side,
        scale=settings.scale,
        ratio=settings.ratio,
        rotation=settings.rotation,
        colour=settings.colour,
        temperature=settings.temperature,
        edge_dropout=settings.edge_dropout,
        clip_length=max(settings.clip_length, 2),
        batch=settings.clips,
        precision="bfloat16" if settings.precision == "bfloat16" else "float32",
        seed=settings.seed,
    )


def split_window(frames: Sequence[Picture], hold_every: int) -> tuple[list[Picture], list[Picture]]:
    """Frames to train on and frames to measure on: the middle one of each `hold_every`.

    Where that would leave fewer than two frames on a side, both are the whole window.
    """
    if hold_every > 0:
        held = [frame for place, frame in enumerate(frames) if place % hold_every == hold_every // 2]
        rest = [frame for place, frame in enumerate(frames) if place % hold_every != hold_every // 2]
        if min(len(held), len(rest)) >= 2:
            return rest, held
    return list(frames), list(frames)


def draw_batch(
    frames: Sequence[Picture], settings: TestTimeSettings, config: TrainConfig, index: int, update: int
) -> Batch:
    """The clips of one update.

    Args:
        frames: RGB uint8 (H, W, 3) of one size, in order; at least two.
        settings: of test-time training.
        config: the same as `loss_config` gives.
        index: of the frame that the window belongs to.
        update: number within the window; `PROBE` for the clips that the cycle error is measured on.

    Returns:
        A batch for `crwedge.train.objective.Objective`.
    """
    rng = np.random.default_rng((settings.seed, index, update))
    views, maps, colours, seeds = [], [], [], []
    for _ in range(settings.clips):
        places = draw_places(rng, len(frames), settings)
        clip = [frames[place] for place in places]
        clip_maps = draw_maps(rng, (clip[0].shape[0], clip[0].shape[1]), len(clip), config.views)
        clip_colours = draw_colours(rng, len(clip_maps), config.views)
        # With own views the walk comes home to a second view of the first frame.
        clip += [clip[0]] * (len(clip_maps) - len(clip))
        views.append(cut_views(torch.from_numpy(np.stack(clip)), clip_maps, config.views.size))
        maps.append(torch.from_numpy(clip_maps)[None])
        colours.append(torch.from_numpy(clip_colours))
        seeds.append(int(rng.integers(2**62)))
    return Batch(torch.stack(views), torch.stack(maps), torch.stack(colours), torch.tensor(seeds), {})


def draw_places(rng: np.random.Generator, count: int, settings: TestTimeSettings) -> list[int]:
    """Places of a clip's frames among `count`: evenly spaced, forwards or backwards; all of them for length 0."""
    length = min(settings.clip_length or count, count)
    if settings.clip_length == 0:
        return list(range(count))
    widest = (count - 1) // (length - 1) if length > 1 else 1
    gap = int(rng.integers(1, min(settings.gap, widest) + 1))
    start = int(rng.integers(count - gap * (length - 1)))
    places = [start + gap * step for step in range(length)]
    return places[::-1] if rng.random() < 0.5 else places
