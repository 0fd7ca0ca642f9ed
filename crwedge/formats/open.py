"""Choose the format of an annotation, read it, and write it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from crwedge.core.files import atomic_path
from crwedge.core.mask_pictures import VOID
from crwedge.core.settings import check_choice
from crwedge.formats.annotation import Annotation, FormatError, Video, Writer
from crwedge.formats.archive import pack, unpack
from crwedge.formats.coco import FILE as COCO_FILE
from crwedge.formats.coco import CocoWriter, read_coco
from crwedge.formats.cvat import CvatWriter, read_cvat
from crwedge.formats.cvat_images import CvatImagesWriter
from crwedge.formats.cvat_xml import FILE as CVAT_FILE
from crwedge.formats.davis import MASKS, DavisWriter, read_davis
from crwedge.formats.jsonl import read_jsonl
from crwedge.formats.yolo import FILE as YOLO_FILE
from crwedge.formats.yolo import YoloWriter, read_yolo
from crwedge.formats.youtube_vos import META, YouTubeVosWriter, read_youtube_vos


@dataclass(frozen=True)
class Format:
    """How a format is written."""

    writer: Callable[[Path, Video], Writer]
    single: str | None
    """The file that is all of it; None where it is a folder."""
    suffix: str = ""
    """Of this file when it stands alone."""
    replaced: tuple[str, ...] = ()
    """What `--overwrite` removes of an earlier result in the same folder; {video} is the name of the video."""
    void: bool = False
    """Whether it can say that nothing is known of a pixel."""


FORMATS = {
    "cvat": Format(CvatWriter, CVAT_FILE, ".xml"),
    "cvat-polygons": Format(partial(CvatWriter, shapes="polygon"), CVAT_FILE, ".xml"),
    "cvat-images": Format(CvatImagesWriter, CVAT_FILE, ".xml"),
    "coco": Format(CocoWriter, COCO_FILE, ".json"),
    "yolo": Format(YoloWriter, None, replaced=("labels", YOLO_FILE)),
    "davis": Format(DavisWriter, None, replaced=(MASKS + "/{video}",), void=True),
    "youtube-vos": Format(YouTubeVosWriter, None, replaced=("Annotations/{video}", META), void=True),
}
"""Formats that are written."""
READ = ("cvat", "coco", "yolo", "davis", "youtube-vos", "jsonl")
"""Formats that are read."""
_KNOWN = ", ".join(FORMATS)


@contextlib.contextmanager
def open_annotation(path: str | Path, form: str | None = None, video: str | None = None) -> Iterator[Annotation]:
    """Read an annotation; a zip is unpacked into a temporary folder until the block ends.

    Args:
        path: a file, a folder or a zip.
        form: one of `READ`; by default what it looks like.
        video: which of several videos.

    Raises:
        FormatError: it cannot be read; with the cure.
    """
    path = Path(path)
    if form is not None:
        check_choice("format", form, READ)
    if not path.exists():
        raise FormatError(f"there is no file or folder {path}")
    with contextlib.ExitStack() as stack:
        place, name = path, path.stem
        if path.is_file() and path.suffix.lower() == ".zip":
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crwedge-")))
            unpack(path, place)
        try:
            yield _read(place, form or _guess(place, path), video)
        except FormatError as error:
            # The temporary folder says nothing to anybody.
            text = str(error).replace(f"{place}{os.sep}", f"{path}:").replace(str(place), str(path))
            raise FormatError(text) from error
        except OSError as error:
            raise FormatError(f"{path} cannot be read: {error.strerror or error} ({name})") from error


def write_annotation(
    annotation: Annotation, target: str | Path, form: str | None = None, overwrite: bool = False
) -> int:
    """Write an annotation, and return the number of its frames.

    A zip and a single file are written whole or not at all. A folder is written file by file; other files in it stay.

    Args:
        annotation: what to write.
        target: `*.zip`, `*.xml` (CVAT), `*.json` (COCO), or a folder.
        form: one of `FORMATS`; by default by the suffix.
        overwrite: replace an existing result.

    Raises:
        FormatError: the target cannot hold the format, or exists already.
    """
    target = Path(target)
    form = format_of(target, form)
    check_target(target, form, annotation.video, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _is_file(target):
        for pattern in FORMATS[form].replaced:
            _remove(target / pattern.format(video=annotation.video.name))
        target.mkdir(exist_ok=True)
        return _write(annotation, target, form)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent) as temporary:
        count = _write(annotation, Path(temporary), form)
        if target.suffix.lower() == ".zip":
            pack(Path(temporary), target)
        else:
            single = FORMATS[form].single
            assert single is not None
            with atomic_path(target) as place:
                os.replace(Path(temporary) / single, place)
    return count


def split_format(text: str) -> tuple[str, str | None]:
    """`x.zip?format=cvat` -> `x.zip` and `cvat`. A path that exists as it is written has no format in it."""
    address, mark, query = text.partition("?")
    if not mark or os.path.lexists(text):
        return text, None
    options = dict(parse_qsl(query, keep_blank_values=True))
    if list(options) != ["format"]:
        raise FormatError(f"{text}: the part after the ? must be format=NAME, with one of {_KNOWN}")
    check_choice("format", options["format"], FORMATS)
    return address, options["format"]


def is_annotation(target: str) -> bool:
    """Whether an output is an annotation, by its name."""
    address, form = split_format(target)
    return form is not None or (
        not os.path.isdir(address) and Path(address).suffix.lower() in (".zip", ".xml", ".json")
    )


def format_of(target: Path, form: str | None) -> str:
    """The format of a target, by its name where none is given; FormatError where that does not decide."""
    if form is None:
        found = [name for name, known in FORMATS.items() if known.suffix and known.suffix == target.suffix.lower()]
        if not found:
            raise FormatError(f"{target} does not say its format: add --to NAME or ?format=NAME, with one of {_KNOWN}")
        return found[0]
    check_choice("format", form, FORMATS)
    if _is_file(target) and target.suffix.lower() not in (".zip", FORMATS[form].suffix):
        kinds = f"*.zip or *{FORMATS[form].suffix}" if FORMATS[form].suffix else "a folder or *.zip"
        raise FormatError(f"{target} cannot hold the format {form}: give {kinds}")
    return form


def check_target(target: Path, form: str, video: Video, overwrite: bool) -> None:
    """FormatError where a target is of the wrong kind or, without `overwrite`, holds a result."""
    if _is_file(target):
        if target.is_dir():
            raise FormatError(f"{target} is a folder, not a file")
        if target.exists() and not overwrite:
            raise FormatError(f"{target} exists; choose another name, or add --overwrite")
        return
    if FORMATS[form].single is not None:
        raise FormatError(f"{target} is not a file: give *.zip or *{FORMATS[form].suffix} for the format {form}")
    if target.exists() and not target.is_dir():
        raise FormatError(f"{target} is a file, not a folder")
    for pattern in () if overwrite else FORMATS[form].replaced:
        if (target / (inner := pattern.format(video=video.name))).exists():
            raise FormatError(f"{target} already holds {inner}; choose another folder, or add --overwrite")


def _write(annotation: Annotation, folder: Path, form: str) -> int:
    writer, count, void = FORMATS[form].writer(folder, annotation.video), 0, False
    for frame in annotation.frames():
        void = void or bool((frame.ids == VOID).any())
        writer.add(frame)
        count += 1
    if not count:
        raise FormatError("the annotation has no frames")
    writer.close(annotation.names)
    if void and not FORMATS[form].void:
        logging.getLogger("crwedge").warning("note: %s has no place for void (255); it is written as background", form)
    return count


def _is_file(target: Path) -> bool:
    return not target.is_dir() and target.suffix.lower() in (".zip", ".xml", ".json")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _guess(place: Path, shown: Path) -> str:
    """The format, found from the files."""
    if place.is_file():
        forms = {".xml": "cvat", ".json": "coco", ".jsonl": "jsonl"}
        if place.suffix.lower() not in forms:
            raise FormatError(
                f"{shown} is not the name of an annotation; possible are *.xml, *.json, *.jsonl, *.zip and folders"
            )
        return forms[place.suffix.lower()]
    if (place / META).is_file():
        return "youtube-vos"
    if (place / YOLO_FILE).is_file():
        return "yolo"
    if _only(place, "*.xml") is not None:
        return "cvat"
    if _only(place, "*.json") is not None:
        return "coco"
    return "davis"


def _only(place: Path, pattern: str) -> Path | None:
    """The one file of a kind at the top of a folder or in its `annotations`; FormatError where there are several."""
    for folder in (place, place / "annotations"):
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if len(found) > 1:
            raise FormatError(f"{folder} holds {', '.join(p.name for p in found[:5])}: give one of them")
        if found:
            return found[0]
    return None


def _read(place: Path, form: str, video: str | None) -> Annotation:
    if form in ("yolo", "davis", "youtube-vos"):
        if not place.is_dir():
            raise FormatError(f"{place} is a file; the format {form} is a folder or a zip of one")
        reader = {"yolo": read_yolo, "davis": read_davis, "youtube-vos": read_youtube_vos}[form]
        return reader(place, video)
    if place.is_dir():
        inner = _only(place, {"cvat": "*.xml", "coco": "*.json", "jsonl": "*.jsonl"}[form])
        if inner is None:
            raise FormatError(f"{place} holds no file of the format {form}")
        place = inner
    return {"cvat": read_cvat, "coco": read_coco, "jsonl": read_jsonl}[form](place)
