"""Clips that an export is calibrated and verified on: rendered scenes, or the user's video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.images import resize_frame
from crwedge.core.masks import VOID, check_mask, read_mask, resize_mask
from crwedge.core.pictures import list_pictures
from crwedge.core.scene import render_scene
from crwedge.runtime.sources.open import open_source

STEPS = 20
"""Steps of propagation of a comparison: enough to see drift in seconds."""
CALIBRATION_FRAMES = 24

Size = tuple[int, int]


@dataclass(frozen=True)
class ReferenceClip:
    """Frames, the mask of the first, and the truth where it is known."""

    name: str
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    """RGB (H, W, 3), all of one size."""
    mask: NDArray[np.uint8] | None = None
    """(H, W) ids of the first frame."""
    truth: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | None = None
    """(H, W) ids of every frame, where they are known."""


def rendered(size: Size | None = None, frames: int = STEPS + 1) -> ReferenceClip:
    """A rendered scene with its true masks; 240 x 426 by default."""
    height, width = size or (240, 426)
    scene = render_scene(frames, height, width)
    return ReferenceClip(
        f"the rendered scene, {frames} frames of {height}x{width}", scene.frames, scene.masks[0], scene.masks
    )


def recorded(clip: str, mask: Path, truth: Path | None = None, size: Size | None = None) -> ReferenceClip:
    """The first frames of a video, the mask of its first frame and optionally a folder of true masks.

    Raises:
        SourceError: the clip has fewer than two frames.
        MaskError: a mask does not fit, or `truth` lacks masks.
    """
    frames = [frame for _, frame in zip(range(STEPS + 1), _frames(clip), strict=False)]
    if len(frames) < 2:
        raise SourceError(
            f"{clip} has {len(frames)} frames; a comparison needs at least 2 frames ({STEPS + 1} are better)"
        )
    shape = frames[0].shape[0], frames[0].shape[1]
    masks = [check_mask(read_mask(mask), shape)]
    if truth is not None:
        files = list_pictures(truth)[: len(frames)] if truth.is_dir() else []
        if len(files) < len(frames):
            raise MaskError(f"{truth} holds {len(files)} masks for {len(frames)} frames; give one PNG a frame")
        masks += [_known(check_mask(read_mask(file), shape)) for file in files[1:]]
    if size is not None and size != shape:
        frames = [resize_frame(frame, size) for frame in frames]
        masks = [resize_mask(item, size) for item in masks]
    height, width = size or shape
    name = f"{clip}, {len(frames)} frames of {height}x{width}"
    return ReferenceClip(name, frames, masks[0], masks if truth is not None else None)


def _known(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A true mask with void as background, as DAVIS scores it."""
    return np.where(mask == VOID, np.uint8(0), mask)


def for_calibration(clip: str | None, size: Size | None = None) -> list[NDArray[np.uint8]]:
    """Frames spread evenly over a video, or frames of rendered scenes. The choice is deterministic.

    Raises:
        SourceError: the clip cannot be read, or never ends.
    """
    if clip is None:
        # Other scenes than the one of the comparison.
        height, width = size or (240, 426)
        return [frame for seed in (11, 12, 13) for frame in render_scene(48, height, width, seed=seed).frames[::6]]
    kept: list[NDArray[np.uint8]] = []
    step = 1
    for number, frame in enumerate(_frames(clip)):
        if number % step:
            continue
        kept.append(resize_frame(frame, size) if size else frame)
        if len(kept) == 2 * CALIBRATION_FRAMES:
            # Twice as many as wanted: keep every second one, so that the frames are spread evenly whatever the length.
            kept, step = kept[::2], step * 2
    return kept


def odd_size(size: Size | None) -> ReferenceClip:
    """Two frames of the fixed size, or of a size that is not a multiple of 8."""
    height, width = size or (123, 217)
    return ReferenceClip(f"2 rendered frames of {height}x{width}", render_scene(2, height, width).frames)


def _frames(clip: str) -> Iterator[NDArray[np.uint8]]:
    with open_source(clip) as source:
        if source.live:
            raise SourceError(f"{clip} is a live source; record some of it and give the file")
        for frame in source:
            yield frame.image
