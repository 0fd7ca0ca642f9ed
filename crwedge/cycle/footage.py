"""Short clips of unlabelled footage: what the cycle score is measured on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.images import resize_frame
from crwedge.runtime.sources.open import open_source

_log = logging.getLogger("crwedge")

Clip = list[NDArray[np.uint8]]
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")

_SECONDS = 30.0
"""How much of a video is read, from its start on."""


def read_clips(
    videos: Sequence[str | Path],
    *,
    count: int,
    frames: int,
    rate: float,
    short_side: int,
) -> list[Clip]:
    """Cut clips evenly from videos, the same ones every time. Files that cannot be used are logged.

    Args:
        videos: video files, folders of them, or folders of pictures (24 a second).
        count: clips wanted in all; there may be fewer.
        frames: T, frames of a clip.
        rate: frames a second of a clip; a video that is too short gives closer frames.
        short_side: frames are shrunk to this short side, in pixels.

    Raises:
        SourceError: there is no clip.
    """
    paths = [found for video in videos for found in _expand(Path(video))]
    # Videos in even steps where there are more than clips, so that the choice covers all folders.
    if len(paths) > count:
        paths = [paths[index * len(paths) // count] for index in range(count)]
    each = -(-count // max(len(paths), 1))
    clips: list[Clip] = []
    for path in paths:
        try:
            kept = _kept_frames(path, rate, short_side)
        except SourceError as error:
            _log.info("%s", error)
            continue
        if len(kept) < frames:
            _log.info("%s has fewer than %d frames; it is skipped", path, frames)
            continue
        starts = np.unique(
            np.linspace(0, len(kept) - frames, min(each, max(len(kept) // frames, 1))).round().astype(int)
        )
        clips += [kept[start : start + frames] for start in starts.tolist()]
    if not clips:
        raise SourceError(f"no clip of {frames} frames can be read from {', '.join(map(str, videos)) or 'nothing'}")
    return clips[:count]


def _expand(path: Path) -> list[Path]:
    """A folder of videos as the videos below it, by name; anything else as it is."""
    if not path.is_dir():
        return [path]
    videos = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES)
    return videos or [path]


def _kept_frames(path: Path, rate: float, short_side: int) -> Clip:
    """Frames of the start of a video at `rate` a second, shrunk; all frames where that leaves too few."""
    with open_source(path) as source:
        if source.live:
            raise SourceError(f"{path} is a live source; record some of it and give the file")
        fps = source.fps or 24.0
        gap = max(1, round(fps / rate))
        if source.length is not None:
            gap = max(1, min(gap, source.length // 8))
        kept: Clip = []
        for index, frame in enumerate(source):
            if index > _SECONDS * fps:
                break
            if index % gap == 0:
                kept.append(shrunk(frame.image, short_side))
    return kept


def shrunk(frame: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """A frame (H, W, 3) with a short side of at most `short_side` pixels."""
    height, width = frame.shape[:2]
    scale = min(1.0, short_side / min(height, width))
    return resize_frame(frame, (round(height * scale), round(width * scale)))
