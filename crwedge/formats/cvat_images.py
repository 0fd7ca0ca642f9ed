"""CVAT for images 1.1: one XML file with an element for each frame, and in it the masks of its objects.

It has no tracks: the id of an object is the attribute `track_id` of its masks. Datumaro reads masks of this form alone.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import quoteattr

from crwedge.core.masks import object_ids
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
from crwedge.formats.cvat_xml import FILE, head, shape_of, shape_text, video_name
from crwedge.formats.runs import EncodedMask

_IN_MEMORY = 1 << 20
TRACK = "track_id"


class CvatImagesWriter:
    """Writes `annotations.xml`; the pictures belong into `images/` beside it.

    Args:
        folder: to write to.
        video: what is annotated.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        self._folder, self._video = folder, video
        self._size: tuple[int, int] | None = None
        self._numbers: list[int] = []
        self._ids: set[int] = set()
        # The head comes first in the file and has the labels, which are known at the end: a mask is a line behind its id.
        self._lines = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by close

    def add(self, frame: AnnotatedFrame) -> None:
        """One element with a mask for each object that is in the frame."""
        self._size = height, width = check_ids(frame.ids, self._size, f"frame {frame.number}")
        self._numbers.append(frame.number)
        name = quoteattr(frame.stem + self._video.suffix)
        self._lines.write(f'0 <image id="{frame.number}" name={name} width="{width}" height="{height}">\n'.encode())
        for i in object_ids(frame.ids):
            self._ids.add(i)
            self._lines.write(f"{i} {shape_text(frame.ids == i, 'mask')}\n".encode())
        self._lines.write(b"0 </image>\n")

    def close(self, names: Mapping[int, str]) -> None:
        """Write the file."""
        labels = {i: names.get(i) or UNNAMED for i in sorted(self._ids)}
        self._lines.seek(0)
        with self._lines, (self._folder / FILE).open("wb") as file:
            different, size = dict.fromkeys(labels.values()), self._size or (0, 0)
            file.write(head(self._video, size, self._numbers, different, "mask", "annotation", (TRACK,)).encode())
            for line in self._lines:
                number, _, text = line.rstrip(b"\n").decode().partition(" ")
                if i := int(number):
                    text = f'  <mask label={quoteattr(labels[i])} source="auto" occluded="0" {text} z_order="0">'
                    text += f'\n      <attribute name="{TRACK}">{i}</attribute>\n    </mask>'
                file.write(f"  {text}\n".encode())
            file.write(b"</annotations>\n")


@dataclass
class _Shape:
    label: str
    mask: EncodedMask
    track: int | None = None


@dataclass
class _Image:
    name: str
    size: tuple[int, int]
    shapes: list[_Shape] = field(default_factory=list)


class ImageElements:
    """The elements `image` of a file, as they are read.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: dict[int, _Image] = {}
        self._last: _Image | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take an `image`, or a `mask` or `polygon` in it; KeyError, ValueError or FormatError where it is damaged."""
        if tag == "image":
            number, size = int(attributes["id"]), (int(attributes["height"]), int(attributes["width"]))
            if number < 0 or number in self.images:
                raise FormatError(f"the image {number} comes twice, or its id is not a whole number from 0")
            self._last = self.images[number] = _Image(attributes["name"], size)
        elif self._last is not None:
            self._last.shapes.append(_Shape(attributes["label"], shape_of(tag, attributes)))

    def attribute(self, name: str | None, text: str) -> None:
        """Take an attribute of the last shape; FormatError where it is a track id that is not a number."""
        if name != TRACK or self._last is None or not self._last.shapes:
            return
        try:
            # Datumaro writes numbers as 1.0.
            track = float(text)
            self._last.shapes[-1].track = int(track)
            if track != int(track):
                raise ValueError(text)
        except (ValueError, OverflowError) as error:
            raise FormatError(f"{self.path}: the {TRACK} {text[:20]!r} is not a whole number") from error

    def annotation(self, meta: Mapping[str, str], boxes: int) -> Annotation:
        """The annotation of all images.

        Args:
            meta: text of the elements of `meta`.
            boxes: number of shapes that are not masks.
        """
        path, images = self.path, dict(sorted(self.images.items()))
        if len(sizes := {image.size for image in images.values()}) > 1:
            raise FormatError(f"{path} has images of {len(sizes)} sizes; a video has one")
        if not any(image.shapes for image in images.values()):
            found = f"; it has {boxes} boxes, points or lines" if boxes else ""
            raise FormatError(f"{path} has no masks or polygons in its images{found}: draw masks or polygons")
        if boxes:
            logging.getLogger("crwedge").warning(
                "note: %s: %d boxes, points or lines were ignored: they are not masks", path, boxes
            )
        names, size = self._tracks(), check_size(*sizes.pop(), str(path))

        def frames() -> Iterator[AnnotatedFrame]:
            canvas = Canvas(size, str(path))
            for number, image in images.items():
                try:
                    shapes = [(shape.track or 0, shape.mask.mask(size)) for shape in image.shapes]
                except FormatError as error:
                    raise FormatError(f"{path}, frame {number}: {error}") from error
                stem = PurePosixPath(image.name.replace("\\", "/")).stem
                yield AnnotatedFrame(number, canvas.paint(shapes), None if stem == f"{number:05d}" else stem)
            canvas.report()

        suffix = PurePosixPath(next(iter(images.values())).name).suffix
        return Annotation(Video(video_name(meta, path.stem), suffix=suffix), size, frames, names)

    def _tracks(self) -> dict[int, str]:
        """Give each shape its object, and return the names of the objects."""
        untracked = sum(any(shape.track is None for shape in image.shapes) for image in self.images.values())
        if untracked > 1:
            raise FormatError(
                f"{self.path} is CVAT for images, which has no tracks: its objects in {untracked} images have no "
                f"attribute {TRACK}; export it as CVAT for video 1.1, or keep the objects of one image"
            )
        names: dict[int, str] = {}
        for image in self.images.values():
            for number, shape in enumerate(image.shapes, start=1):
                shape.track = number if shape.track is None else shape.track
                if not 0 < shape.track <= MOST_OBJECTS:
                    raise FormatError(f"{self.path} has the object {shape.track}; ids go from 1 to {MOST_OBJECTS}")
                if shape.label != UNNAMED:
                    names.setdefault(shape.track, shape.label)
        return names
