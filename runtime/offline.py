"""Track a whole video at once, as a generator: bounded memory, the same results as the stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.core.joints import FrameJoints
from crwedge.core.labels import LabelMap
from crwedge.core.masks import read_mask
from crwedge.core.prompts import PromptLike
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.sources.arrays import Frames, as_source
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions


def propagate(
    source: Frames,
    mask: str | Path | PromptLike,
    model: str | Path | Bundle | None = None,
    settings: PropagationSettings | str | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[LabelMap]:
    """Label every frame of `source` from the mask of its first.

    Args:
        source: what `open_source` takes, an array (T, H, W, 3), or frames in any iterable: arrays RGB uint8 (H, W, 3),
            Pillow images or paths of pictures.
        mask: a mask file, ids (H, W), or joints.
        model: a bundle; by default the one of `crwedge use`, else the shipped one.
        settings: a protocol or the name of a preset; by default the bundle's preset.
        size: (H, W) to compute at.

    Yields:
        One label map for each frame.

    Raises:
        UserError: the source or the mask cannot be used.
    """
    prompt: PromptLike | None = mask if isinstance(mask, np.ndarray | FrameJoints) else read_mask(mask)
    with as_source(source) as frames, Tracker.open(model, settings=settings, options=TrackerOptions(size)) as tracker:
        for frame in frames:
            yield tracker.step(frame, prompt)
            prompt = None
