"""Where label maps go: a folder of palette PNG, an overlay video, JSON Lines, a window."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from crwedge.core.errors import SinkError
from crwedge.core.files import check_writable
from crwedge.core.films import VIDEO_SUFFIXES
from crwedge.core.pictures import IMAGE_SUFFIXES
from crwedge.core.uri import scheme_of
from crwedge.formats.open import is_annotation, split_format
from crwedge.runtime.sinks.annotation import AnnotationSink, video_of
from crwedge.runtime.sinks.base import MaskSink
from crwedge.runtime.sinks.jsonl import JsonLinesSink
from crwedge.runtime.sinks.png import PngSink, old_masks
from crwedge.runtime.sinks.video import VideoSink
from crwedge.runtime.sinks.window import WindowSink

if TYPE_CHECKING:
    from crwedge.runtime.sources.frame import FrameSource

_OTHER_FILES = tuple(s for s in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".csv", ".txt", ".npy", ".npz") if s != ".mp4")
"""Suffixes of files; any other name with a dot in it, such as `run.2`, is a folder."""


def open_sink(
    target: str | Path,
    fps: float | None = None,
    overwrite: bool = True,
    resume_at: int | None = None,
    timed: bool = False,
    source: FrameSource | None = None,
) -> MaskSink:
    """Open a sink by its name.

    Args:
        target: `*.mp4`, `*.jsonl`, `-` (JSON Lines on standard output), `mqtt://host/topic`, `window`, a folder, or an
            annotation: `*.xml` (CVAT), `*.json` (COCO), and a zip or folder with its format, `x.zip?format=cvat`.
        fps: frames a second of a video; 25 when unknown.
        overwrite: whether existing results may be replaced.
        resume_at: continue existing results from this frame on. A video cannot be continued: a new one
            with a number in its name is begun.
        timed: show the frames of a video at their own time stamps.
        source: what the frames come from. A video has its frame rate, time stamps, pixel aspect and sound.

    Raises:
        SinkError: it cannot be written, results exist there, or it is the source itself.
    """
    if source is not None:
        fps, timed = fps or source.fps, True
    if str(target) == "window":
        return WindowSink()
    if str(target) == "-":
        return JsonLinesSink(None)
    if str(target).startswith(("mqtt://", "mqtts://")):
        from crwedge.runtime.sinks.mqtt import MqttSink

        return MqttSink(str(target))
    if is_annotation(str(target)):
        place, form = split_format(str(target))
        _check_not_source(Path(place), source)
        check_writable(Path(place))
        return AnnotationSink(Path(place), form, video_of(source, Path(place)), overwrite, resume_at)
    if scheme := scheme_of(str(target)):
        raise SinkError(
            f"--out {target}: there is no output of kind {scheme}://; a file, a folder or mqtt://host/topic"
        )
    path = Path(target)
    suffix = "" if str(target).endswith(os.sep) or os.path.isdir(path) else path.suffix.lower()
    overwrite = overwrite or resume_at is not None
    if suffix == ".mp4" and resume_at is not None:
        path = _next_free(path)
    _check_not_source(path, source)
    if suffix in (".mp4", ".jsonl"):
        if path.exists() and not overwrite:
            raise SinkError(f"{path} exists; choose another --out, or add --overwrite")
        check_writable(path)
        if suffix == ".jsonl":
            return JsonLinesSink(path, resume_at)
        return VideoSink(
            path,
            fps or 25.0,
            timed,
            pixel_aspect=getattr(source, "pixel_aspect", None),
            sound=getattr(source, "path", None),
            backwards=getattr(source, "reverse", False),
        )
    if suffix in _OTHER_FILES:
        raise SinkError(
            f"--out {target}: there is no output of the kind {suffix}; give a folder, *.mp4, *.jsonl, *.xml, *.json or window "
            f"(a folder of that name: {target}{os.sep})"
        )
    if path.exists() and not path.is_dir():
        raise SinkError(f"{path} is a file, not a folder")
    if path.is_dir() and not overwrite and any(path.glob("*.png")):
        raise SinkError(f"{path} already holds masks; choose another --out, or add --overwrite")
    replace = overwrite and resume_at is None
    if replace:
        old_masks(path)
    check_writable(path)
    return PngSink(path, replace)


def _check_not_source(path: Path, source: FrameSource | None) -> None:
    """Refuse to write over the frames that are read."""
    film: Path | None = getattr(source, "path", None)
    pictures: list[Path] = getattr(source, "paths", [])
    own = [film] if film is not None else [*{p.parent for p in pictures}, *pictures[:1]]
    if path.exists() and any(p.exists() and p.samefile(path) for p in own):
        raise SinkError(f"--out {path} is the folder of the source frames; choose another")


def _next_free(path: Path) -> Path:
    """`o.mp4`, or `o-1.mp4`, `o-2.mp4`, ...: the first that does not exist."""
    names = itertools.chain((path,), (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(1)))
    return next(name for name in names if not name.exists())
