"""Labels of a film as files for download."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from crwedge.core.files import atomic_path, atomic_write
from crwedge.core.labels import LabelMap
from crwedge.runtime.sinks.jsonl import frame_facts
from crwedge.runtime.sinks.video import VideoSink
from crwedge.runtime.sources.random_access import RandomAccess
from crwedge.runtime.web.film_labels import FilmLabels


def export_film(name: str, folder: Path, frames: RandomAccess, labels: FilmLabels) -> Path:
    """Write `masks.zip`, `masks.jsonl` or `overlay.mp4` of all labelled frames to a folder, and return its path."""
    makers: dict[str, Callable[[Path, RandomAccess, FilmLabels], None]] = {
        "masks.zip": _zip,
        "masks.jsonl": _lines,
        "overlay.mp4": _film,
    }
    makers[name](folder / name, frames, labels)
    return folder / name


def _zip(target: Path, frames: RandomAccess, labels: FilmLabels) -> None:
    with atomic_path(target) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in labels.numbers:
            archive.write(labels.path(number), f"{frames.name_of(number)}.png")


def _lines(target: Path, frames: RandomAccess, labels: FilmLabels) -> None:
    with atomic_write(target) as file:
        for found in _label_maps(frames, labels, pixels=False):
            file.write((json.dumps(frame_facts(found), separators=(",", ":")) + "\n").encode())


def _film(target: Path, frames: RandomAccess, labels: FilmLabels) -> None:
    with atomic_path(target) as path, VideoSink(path, frames.fps or 25.0) as sink:
        for found in _label_maps(frames, labels, pixels=True):
            sink.write(found)


def _label_maps(frames: RandomAccess, labels: FilmLabels, pixels: bool) -> Iterator[LabelMap]:
    for index, number in enumerate(labels.numbers):
        frame = frames.frame(number) if pixels else None
        yield LabelMap(
            _ids(labels, number),
            index,
            labels.objects,
            np.empty((0, 0, 0), np.float32),
            None if frame is None else frame.pts,
            None if frame is None else frame.image,
            number,
            name=frames.name_of(number),
        )


def _ids(labels: FilmLabels, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    ids = labels.get(number)
    assert ids is not None
    return ids
