"""BatchNorm statistics gathered anew on whole frames.

Statistics gathered on small patches do not fit the whole frames that propagation encodes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from crwedge.core.images import resize_frame
from crwedge.model.encoder import Encoder
from crwedge.model.random import gather_statistics
from crwedge.train.clips import ClipSource
from crwedge.train.objective import autocast


def calibrated(encoder: Encoder, source: ClipSource, *, frames: int, side: int, precision: str, seed: int) -> Encoder:
    """A copy of the encoder, in evaluation mode, with statistics over whole frames of short side `side`.

    Every frame counts alike; `frames` = 0 leaves the statistics as they are.
    """
    encoder = copy.deepcopy(encoder)
    if frames == 0:
        return encoder.eval()
    rng = np.random.default_rng((seed, 0xCA11B))
    device = next(encoder.parameters()).device

    def pictures() -> Iterator[Tensor]:
        for _ in range(frames):
            frame = source.frame(rng)
            height, width = frame.shape[:2]
            scale = side / min(height, width)
            frame = resize_frame(frame, (round(height * scale), round(width * scale)))
            whole = torch.from_numpy(np.array(frame))[None].to(device)
            yield encoder.normalise(whole).contiguous(memory_format=torch.channels_last)

    with autocast(device, precision):
        gather_statistics(encoder, pictures())
    return encoder.eval()
