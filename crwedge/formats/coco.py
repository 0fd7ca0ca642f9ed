"""COCO instances: one JSON file; masks as compressed run lengths, an annotation for each object of each frame.

`track_id` is the object's id (also in `attributes`, where other tools look for what COCO has not), `frame_id` the number of the
frame. Objects of one name share a category.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from crwedge.core.places import object_places
from crwedge.core.rle import encode_rle
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
from crwedge.formats.json_file import read_json
from crwedge.formats.numbering import frame_numbers
from crwedge.formats.runs import CocoRuns, EncodedMask, Polygons, polygon
from crwedge.formats.spools import Spools

FILE = "annotations/instances_default.json"


class CocoWriter:
    """Writes `annotations/instances_default.json`.

    Args:
        folder: to write to.
        video: what is annotated.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        self._folder, self._video = folder, video
        self._size: tuple[int, int] | None = None
        self._images = Spools(folder)
        self._objects = Spools(folder)
        self._frames = self._count = 0

    def add(self, frame: AnnotatedFrame) -> None:
        """One image, and one annotation for each object in it."""
        self._size = height, width = check_ids(frame.ids, self._size, f"frame {frame.number}")
        self._frames += 1
        image = {"id": self._frames, "file_name": frame.stem + self._video.suffix, "height": height, "width": width}
        image["frame_id"] = frame.number
        self._images.add(0, ("," if self._frames > 1 else "") + "\n" + json.dumps(image))
        for i, place in object_places(frame.ids).items():
            self._count += 1
            entry = {
                "id": self._count,
                "image_id": self._frames,
                "track_id": i,
                "bbox": list(place.box),
                "area": place.area,
                "iscrowd": 0,
                "segmentation": encode_rle(frame.ids == i),
                "attributes": {"track_id": i},
            }
            # The category comes last: names may be known at the end alone.
            self._objects.add(i, json.dumps(entry)[:-1] + "\n")

    def close(self, names: Mapping[int, str]) -> None:
        """Put the parts together."""
        labels = {i: names.get(i) or UNNAMED for i in self._objects.ids}
        numbers = {label: n for n, label in enumerate(dict.fromkeys(labels.values()), start=1)}
        categories = [{"id": n, "name": label, "supercategory": ""} for label, n in numbers.items()]
        path = self._folder / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file, tempfile.TemporaryFile(dir=self._folder) as part:
            head = {"info": {"description": self._video.name}, "licenses": [], "categories": categories}
            file.write(json.dumps(head)[:-1].encode() + b',\n"images": [')
            self._images.copy(0, file)
            file.write(b'\n],\n"annotations": [')
            before = b"\n"
            for i, label in labels.items():
                part.seek(0)
                part.truncate()
                self._objects.copy(i, part)
                part.seek(0)
                for line in part:
                    file.write(before + line.rstrip(b"\n") + f', "category_id": {numbers[label]}}}'.encode())
                    before = b",\n"
            file.write(b"\n]}\n")


def read_coco(path: Path) -> Annotation:
    """Read COCO instances of one video: run lengths and polygons.

    An object is followed by `track_id`, `instance_id` or the same among its `attributes`. A file without them may have
    objects in one image alone; they are numbered in their order.

    Raises:
        FormatError: it is another file, damaged, or has objects that cannot be followed.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise FormatError(f"{path} is not a COCO file: it has no list of images")
    if not isinstance(data.get("annotations"), list):
        raise FormatError(f"{path} is not a COCO instances file: it has no list of annotations")
    try:
        return _annotation(path, data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path} is damaged: an entry lacks or has a wrong {error}") from error


def _annotation(path: Path, data: dict[str, Any]) -> Annotation:
    images = {int(image["id"]): image for image in data["images"]}
    videos = {image.get("video_id") for image in images.values()}
    if len(videos) > 1:
        raise FormatError(f"{path} holds {len(videos)} videos; split it into one file a video")
    if not images:
        raise FormatError(f"{path} has no images")
    sizes = {check_size(int(image["height"]), int(image["width"]), str(path)) for image in images.values()}
    if len(sizes) > 1:
        raise FormatError(f"{path} has images of {len(sizes)} sizes; a video has one")
    categories = {int(c["id"]): str(c["name"]) for c in data.get("categories", [])}
    objects: dict[int, list[tuple[int, EncodedMask]]] = {key: [] for key in images}
    names: dict[int, str] = {}
    untracked: set[int] = set()
    for entry in data["annotations"]:
        key = int(entry["image_id"])
        if key not in images:
            raise FormatError(f"{path}: an annotation belongs to the image {key}, which is not listed")
        if entry.get("iscrowd") and _track_of(entry) is None:
            # A crowd is a region to be left out of scores, not an object.
            continue
        shape = _shape_of(entry, path)
        if shape is None:
            continue
        track = _track_of(entry)
        if track is None:
            untracked.add(key)
            track = len(objects[key]) + 1
        if not 0 < track <= MOST_OBJECTS:
            raise FormatError(f"{path} has the object {track}; ids go from 1 to {MOST_OBJECTS}")
        objects[key].append((track, shape))
        label = categories.get(int(entry.get("category_id", 0)), UNNAMED)
        if label != UNNAMED:
            names.setdefault(track, label)
    if len(untracked) > 1:
        raise FormatError(
            f"{path} has no track_id, and objects in {len(untracked)} images: which of them are the same object is "
            "unknown; export it with track ids, or keep the annotations of one image"
        )
    if not any(objects.values()):
        raise FormatError(f"{path} has no masks (segmentation) of objects")
    stems = {key: PurePosixPath(str(image["file_name"]).replace("\\", "/")).stem for key, image in images.items()}
    given = {key: image["frame_id"] for key, image in images.items() if isinstance(image.get("frame_id"), int)}
    numbers = given if len(given) == len(images) else dict(zip(images, frame_numbers(stems.values()), strict=True))
    if len(set(numbers.values())) != len(images):
        raise FormatError(f"{path}: two images have one frame number")
    size, order = next(iter(sizes)), sorted(images, key=lambda key: numbers[key])

    def frames() -> Iterator[AnnotatedFrame]:
        canvas = Canvas(size, str(path))
        for key in order:
            try:
                shapes = [(track, shape.mask(size)) for track, shape in objects[key]]
            except FormatError as error:
                raise FormatError(f"{path}, image {stems[key]}: {error}") from error
            number = numbers[key]
            yield AnnotatedFrame(number, canvas.paint(shapes), None if stems[key] == f"{number:05d}" else stems[key])
        canvas.report()

    info = data.get("info")
    name = str((info if isinstance(info, dict) else {}).get("description") or path.stem)
    suffix = PurePosixPath(str(images[order[0]]["file_name"])).suffix
    return Annotation(Video(name, suffix=suffix), size, frames, names)


def _track_of(entry: dict[str, Any]) -> int | None:
    attributes = entry.get("attributes")
    for place in (entry, attributes if isinstance(attributes, dict) else {}):
        for name in ("track_id", "instance_id"):
            if place.get(name) is not None:
                return int(place[name])
    return None


def _shape_of(entry: dict[str, Any], path: Path) -> EncodedMask | None:
    segmentation = entry.get("segmentation")
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return CocoRuns(segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(part, list) for part in segmentation):
        raise FormatError(f"{path}: a segmentation is neither run lengths nor a list of polygons")
    return Polygons(tuple(polygon(np.asarray(part, np.float64)) for part in segmentation))
