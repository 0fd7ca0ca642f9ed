"""The end of a training: BatchNorm statistics gathered anew on whole frames, and whitening of the features.

Statistics gathered on small patches do not fit the whole frames that propagation encodes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from crwedge.core.errors import SettingError
from crwedge.core.images import resize_frame
from crwedge.model.encoder import Encoder
from crwedge.model.random import gather_statistics
from crwedge.model.whiten import whitened
from crwedge.train.clips import ClipSource
from crwedge.train.objective import autocast
from crwedge.train.run_config import RunConfig

_log = logging.getLogger("crwedge")


def calibrated(encoder: Encoder, source: ClipSource, run: RunConfig) -> Encoder:
    """A copy of the encoder, in evaluation mode, fitted to `run.calibrate` whole frames, which count alike."""
    encoder = copy.deepcopy(encoder)
    device = next(encoder.parameters()).device

    def pictures() -> Iterator[Tensor]:
        rng = np.random.default_rng((run.seed, 0xCA11B))
        for _ in range(run.calibrate):
            frame = source.frame(rng)
            height, width = frame.shape[:2]
            scale = run.calibrate_side / min(height, width)
            frame = resize_frame(frame, (round(height * scale), round(width * scale)))
            whole = torch.from_numpy(np.array(frame))[None].to(device)
            yield encoder.normalise(whole).contiguous(memory_format=torch.channels_last)

    with autocast(device, run.precision):
        gather_statistics(encoder, pictures())
        if run.whiten == 0:
            return encoder.eval()
        try:
            return whitened(encoder, pictures(), run.whiten)
        except SettingError as error:  # tiny pictures: a training does not fail at its end
            _log.warning("the features are not whitened: %s", error)
            return encoder.eval()
