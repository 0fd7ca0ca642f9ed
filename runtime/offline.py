"""A whole video at once, as a generator: bounded memory, the same results as the stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.labels import LabelMap
from crwedge.core.masks import read_mask
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.tracker import Tracker, TrackerOptions


def propagate(
    source: str | Path,
    mask: str | Path | NDArray[np.uint8],
    model: str | Path | Bundle | None = None,
    settings: PropagationSettings | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[LabelMap]:
    """Label every frame of `source` from the mask of its first.

    Args:
        source: whatever `open_source` takes.
        mask: a mask file, or ids (H, W).
        model: a bundle; by default the newest exported, else the shipped one.
        settings: by default the bundle's preset.
        size: (H, W) to compute at.

    Yields:
        One label map a frame.
    """
    first: NDArray[np.uint8] | None = mask if isinstance(mask, np.ndarray) else read_mask(mask)
    with (
        open_source(source) as frames,
        Tracker.open(model, settings=settings, options=TrackerOptions(size=size)) as tracker,
    ):
        for frame in frames:
            yield tracker.step(frame, first)
            first = None
