"""YOLO segmentation: `labels/NAME.txt` with a line `class x y x y ...` for each part of an object, and `data.yaml`.

Coordinates are shares of width and height. YOLO has no ids of objects: each object is a class of its own. Which id a class is,
and the size of the frames, stand in `data.yaml` under `crwedge`, which other tools pass over.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crwedge.core.json_text import parse_json
from crwedge.core.location import is_hidden, path_key
from crwedge.core.masks import object_ids
from crwedge.core.pictures import is_picture, open_image
from crwedge.formats.annotation import (
    MOST_OBJECTS,
    UNNAMED,
    AnnotatedFrame,
    Annotation,
    Canvas,
    FormatError,
    Video,
    check_ids,
    check_size,
)
from crwedge.formats.davis import choose_video
from crwedge.formats.numbering import frame_numbers
from crwedge.formats.polygons import parts
from crwedge.formats.runs import Polygons, polygon

FILE = "data.yaml"
_MOST_BYTES = 1 << 26
"""Of a label file, and of `data.yaml`."""


class YoloWriter:
    """Writes `labels/NAME.txt` and `data.yaml`; the pictures belong into `images/` beside them.

    A hole is joined to the outline of its part by a line that is passed twice.

    Args:
        folder: to write to.
        video: what is annotated.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        self._folder, self._video = folder, video
        self._size: tuple[int, int] | None = None
        self._classes: dict[int, int] = {}
        (folder / "labels").mkdir(parents=True, exist_ok=True)

    def add(self, frame: AnnotatedFrame) -> None:
        """One text file; it is empty where no object is in the frame."""
        self._size = height, width = check_ids(frame.ids, self._size, f"frame {frame.number}")
        lines = []
        for i in object_ids(frame.ids):
            number = self._classes.setdefault(i, len(self._classes))
            for part in parts(frame.ids == i):
                numbers = " ".join(f"{value:.6f}" for value in (part / (width, height)).reshape(-1))
                lines.append(f"{number} {numbers}\n")
        (self._folder / "labels" / f"{frame.stem}.txt").write_text("".join(lines), encoding="ascii")

    def close(self, names: Mapping[int, str]) -> None:
        """Write `data.yaml`."""
        lines = ["path: .", "train: images", "val: images", "names:" if self._classes else "names: []"]
        lines += [f"  {number}: {json.dumps(names.get(i) or UNNAMED)}" for i, number in self._classes.items()]
        facts = {"objects": list(self._classes), "size": list(self._size or (0, 0)), "video": self._video.name}
        lines += ["# Ids of the classes' objects, and (height, width) of the frames.", f"crwedge: {json.dumps(facts)}"]
        (self._folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_yolo(path: Path, video: str | None = None) -> Annotation:
    """Read polygons of YOLO: each class is one object.

    Args:
        path: the folder with `data.yaml` and `labels/`.
        video: which folder below `labels`, where there are several.

    Raises:
        FormatError: it is another folder, damaged, or the size of the frames is not known.
    """
    names, facts = _read_yaml(path / FILE)
    folder, pictures, files = path / "labels", path / "images", _texts(path / "labels")
    if not files:
        folders = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and _texts(p)} if folder.is_dir() else {}
        if not folders:
            raise FormatError(f"{path} has no labels: there are no text files in {folder}")
        chosen = choose_video(folder, list(folders), video)
        folder, pictures = folders[chosen], pictures / chosen
        files = _texts(folder)
    numbered = sorted(zip(frame_numbers(file.stem for file in files), files, strict=True))
    if facts:
        objects, size = _checked_facts(facts, path)
        name = str(facts.get("video") or path.name)
    else:
        objects, size = list(range(1, len(names) + 1)), _size_of(pictures, path)
        name = path.resolve().name
        logging.getLogger("crwedge").warning("note: %s: YOLO has no ids; each class is read as one object", path)
    if len(objects) > MOST_OBJECTS:
        raise FormatError(f"{path} has {len(objects)} classes; at most {MOST_OBJECTS} objects can be followed")

    def frames() -> Iterator[AnnotatedFrame]:
        canvas = Canvas(size, str(path))
        for number, file in numbered:
            shapes = [(i, shape.mask(size)) for i, shape in _read_labels(file, objects, size)]
            yield AnnotatedFrame(number, canvas.paint(shapes), None if file.stem == f"{number:05d}" else file.stem)
        canvas.report()

    known = {i: label for i, label in zip(objects, names, strict=False) if label != UNNAMED}
    return Annotation(Video(name), size, frames, known)


def _texts(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.suffix == ".txt" and not is_hidden(p.name)), key=path_key)


def _read_labels(file: Path, objects: list[int], size: tuple[int, int]) -> list[tuple[int, Polygons]]:
    if file.stat().st_size > _MOST_BYTES:
        raise FormatError(f"{file} is larger than {_MOST_BYTES >> 20} MB: it is not a label file of one frame")
    found: dict[int, list[Any]] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) == 5:
            raise FormatError(f"{file} holds boxes; masks need polygons (class x y x y x y ...)")
        try:
            number = int(words[0])
            numbers = np.array(words[1:], np.float64).reshape(-1, 2) * (size[1], size[0])
            shape = polygon(numbers)
        except (ValueError, FormatError) as error:
            raise FormatError(f"{file}: a line is not `class x y x y x y ...` ({error})") from error
        if not 0 <= number < len(objects):
            raise FormatError(f"{file} has the class {number}; {FILE} names {len(objects)}")
        found.setdefault(objects[number], []).append(shape)
    return [(i, Polygons(tuple(shapes))) for i, shapes in found.items()]


def _read_yaml(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Names of the classes, and what stands under `crwedge`. Of YAML the forms are known that data sets have."""
    if not path.is_file():
        raise FormatError(f"there is no {path}, which names the classes")
    if path.stat().st_size > _MOST_BYTES:
        raise FormatError(f"{path} is larger than {_MOST_BYTES >> 20} MB: it is not a list of classes")
    names: dict[int, str] = {}
    facts: dict[str, Any] = {}
    inside = False
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not line[0].isspace() and not text.startswith("- "):
            key, _, value = (part.strip() for part in text.partition(":"))
            inside = key == "names" and not value
            if key == "names" and value:
                names = dict(enumerate(_flow(value, path)))
            elif key == "crwedge":
                try:
                    facts = parse_json(value)
                except ValueError as error:
                    raise FormatError(f"{path}: the line crwedge is damaged ({error})") from error
        elif inside and (match := re.fullmatch(r"(\d{1,6})\s*:\s*(.*)", text)):
            names[int(match[1])] = _word(match[2])
        elif inside and text.startswith("- "):
            names[len(names)] = _word(text[2:])
    if sorted(names) != list(range(len(names))):
        raise FormatError(f"{path} numbers its classes {sorted(names)[:5]}...; they count from 0")
    return [names[number] for number in range(len(names))], facts


def _flow(text: str, path: Path) -> list[str]:
    """Names of `[a, b]` or `{0: a, 1: b}`."""
    text = text.split(" #")[0].strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        raise FormatError(f"{path}: names are written as a list below each other, or as [a, b]")
    inner = re.findall(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^,]+', text[1:-1])
    words = [part.strip() for part in inner if part.strip()]
    return [_word(re.sub(r"^\d+\s*:\s*", "", word)) for word in words]


def _word(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(parse_json(text))
        except ValueError:
            return text.strip('"')
    return text.split(" #")[0].strip().strip("'")


def _checked_facts(facts: Any, path: Path) -> tuple[list[int], tuple[int, int]]:
    try:
        objects = [int(i) for i in facts["objects"]]
        height, width = (int(side) for side in facts["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path / FILE}: the line crwedge is damaged ({error})") from error
    if len(set(objects)) != len(objects) or not all(0 < i <= MOST_OBJECTS for i in objects):
        raise FormatError(
            f"{path / FILE}: the line crwedge has ids that are not distinct numbers from 1 to {MOST_OBJECTS}"
        )
    return objects, check_size(height, width, str(path))


def _size_of(pictures: Path, path: Path) -> tuple[int, int]:
    for picture in sorted(pictures.iterdir()) if pictures.is_dir() else ():
        if is_picture(picture):
            with open_image(picture) as image:
                return check_size(image.height, image.width, str(picture))
    raise FormatError(f"{path} does not say how large its frames are: put the pictures into {pictures}")
