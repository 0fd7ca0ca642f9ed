"""Track a whole video at once, as a generator: bounded memory, the same results as the stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.core.joints import FrameJoints, Joints
from crwedge.core.labels import LabelMap
from crwedge.core.prompts import PromptLike
from crwedge.core.settings import PropagationSettings
from crwedge.formats.prompt import AnnotatedMask, read_prompt
from crwedge.runtime.sources.arrays import Frames, as_source
from crwedge.runtime.sources.frame_range import FrameRange
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions


def propagate(
    source: Frames,
    mask: str | Path | PromptLike,
    model: str | Path | Bundle | None = None,
    settings: PropagationSettings | str | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[LabelMap]:
    """Label the frames of `source` from the mask of its first, or from the frame that an annotation begins with.

    Args:
        source: what `open_source` takes, an array (T, H, W, 3), or frames in any iterable: arrays RGB uint8 (H, W, 3),
            Pillow images or paths of pictures.
        mask: a file of a mask, of joints or of an annotation (see `crwedge.formats.prompt.read_prompt`), ids (H, W), or
            joints. The frames before the first annotated one are skipped.
        model: a bundle; by default the one of `crwedge use`, else the shipped one.
        settings: a protocol or the name of a preset; by default the preset of `crwedge track`.
        size: (H, W) to compute at.

    Yields:
        One label map for each frame.

    Raises:
        UserError: the source or the mask cannot be used.
    """
    start, prompt, names = _first(mask)
    with as_source(source) as opened, Tracker.open(model, settings=settings, options=TrackerOptions(size)) as tracker:
        tracker.rename(names)
        for frame in FrameRange(opened, start) if start else opened:
            yield tracker.step(frame, prompt)
            prompt = None


def _first(mask: str | Path | PromptLike) -> tuple[int, PromptLike | None, dict[int, str]]:
    """Number of the frame that a prompt belongs to, the prompt, and the names of its objects."""
    given = mask if isinstance(mask, np.ndarray | FrameJoints) else read_prompt(mask)
    if isinstance(given, AnnotatedMask):
        return given.frame, given.mask, dict(given.names)
    if isinstance(given, Joints):
        return *given.first(), {}
    return 0, given, {}
