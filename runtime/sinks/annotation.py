"""Label maps as annotations of other tools: CVAT, COCO, YOLO, DAVIS, YouTube-VOS."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.formats.annotation import Video
from crwedge.formats.open import check_target, format_of, open_annotation, write_annotation
from crwedge.runtime.sinks.base import Sink
from crwedge.runtime.sinks.jsonl import JsonLinesSink

if TYPE_CHECKING:
    from crwedge.runtime.sources.frame import FrameSource


class AnnotationSink(Sink):
    """An annotation in one of `crwedge.formats.open.FORMATS`.

    Most formats put all frames of an object together, and one file is complete at its end alone. Frames are therefore written
    to `TARGET.partial.jsonl`, a line each, and put into the format when the sink closes. The memory is bounded. A run that was
    killed leaves this file: `crwedge convert` finishes it, and so does a run with `--resume`.

    Args:
        target: a file or folder.
        form: name of the format; by default by the suffix.
        video: what is annotated.
        overwrite: replace an existing result.
        resume_at: go on with what a killed run has left, from this frame on. Where nothing is left, because that run had
            finished its file, a new one with a number in its name is begun.

    Raises:
        FormatError: the target cannot hold the format, or a result exists there.
        SinkError: a run that was cut off has left its frames there.
    """

    def __init__(
        self, target: Path, form: str | None, video: Video, overwrite: bool = False, resume_at: int | None = None
    ) -> None:
        if resume_at is not None and not _partial(target).exists():
            names = (target.with_name(f"{target.stem}-{i}{target.suffix}") for i in itertools.count(1))
            target = target if not target.exists() else next(name for name in names if not name.exists())
        self.target, self.form, self.name = target, format_of(target, form), str(target)
        self._video = video
        check_target(target, self.form, video, overwrite or resume_at is not None)
        self._partial = _partial(target)
        if self._partial.exists() and not overwrite and resume_at is None:
            raise SinkError(
                f"{self._partial} is left of a run that was cut off: finish it with crwedge convert {self._partial} "
                f"{target} --to {self.form}, or add --overwrite"
            )
        self._lines = JsonLinesSink(self._partial, resume_at)
        self._begun = False

    def write(self, labels: LabelMap) -> None:
        """Keep one frame; SinkError where joints are followed."""
        if labels.joints is not None:
            raise SinkError(f"{self.name}: the format {self.form} holds masks; write joints to *.jsonl")
        self._begun = True
        self._lines.write(labels)

    def close(self) -> None:
        """Put the frames into the format."""
        self._lines.close()
        if not self._begun:
            return
        self._begun = False
        with open_annotation(self._partial, "jsonl") as annotation:
            write_annotation(replace(annotation, video=self._video), self.target, self.form, overwrite=True)
        with contextlib.suppress(OSError):
            self._partial.unlink()


def video_of(source: FrameSource | None, target: Path) -> Video:
    """How the video of a source is called, and its frames' files; by the target where there is no source."""
    if source is None:
        return Video(target.name.split(".")[0])
    film: Path | None = getattr(source, "path", None)
    if film is not None:
        return Video(Path(film).stem, source.fps)
    if pictures := getattr(source, "paths", None):
        folder = Path(os.path.abspath(pictures[0])).parent
        # A clip of a benchmark is the folder above its frames.
        name = folder.parent.name if folder.name == "JPEGImages" else folder.name
        return Video(name, source.fps, Path(pictures[0]).suffix)
    return Video(source.name.rpartition("/")[2] or "camera", source.fps)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial.jsonl")
