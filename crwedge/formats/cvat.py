"""CVAT for video 1.1: one XML file with a track for each object. Reading takes CVAT for images too (`cvat_images`).

A track has a shape in each frame where it changes; the shape holds until the next one, or until one that is `outside`. Masks
are run lengths in a box (exact); polygons are an alternative for people who move points.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
from crwedge.formats.cvat_images import ImageElements
from crwedge.formats.cvat_xml import FILE, Shapes, head, shape_of, shape_text, step_of, video_name
from crwedge.formats.runs import EncodedMask, Polygons
from crwedge.formats.safe_xml import xml_elements
from crwedge.formats.spools import Spools

_MOST_FRAMES = 10_000_000
_OTHER_SHAPES = ("box", "polyline", "points", "ellipse", "cuboid", "skeleton")


class CvatWriter:
    """Writes `annotations.xml`.

    Args:
        folder: to write to.
        video: what is annotated.
        shapes: `mask`, or `polygon`: one polygon an object; parts and holes are joined by lines that are passed twice.
    """

    def __init__(self, folder: Path, video: Video, shapes: Shapes = "mask") -> None:
        self._folder, self._video, self._shapes = folder, video, shapes
        self._size: tuple[int, int] | None = None
        self._tracks = Spools(folder)
        self._numbers: list[int] = []
        self._named: dict[int, str] = {}
        self._inside: dict[int, str] = {}

    def add(self, frame: AnnotatedFrame) -> None:
        """One shape for each object that is in the frame, or has just left it."""
        self._size = check_ids(frame.ids, self._size, f"frame {frame.number}")
        self._numbers.append(frame.number)
        if frame.stem != f"{frame.number:05d}":
            self._named[frame.number] = frame.stem
        present = {i: shape_text(frame.ids == i, self._shapes) for i in object_ids(frame.ids)}
        for i in sorted({*present, *self._inside}):
            shape, outside = present.get(i) or self._inside[i], int(i not in present)
            text = f'    <{self._shapes} frame="{frame.number}" keyframe="1" outside="{outside}" occluded="0" {shape}'
            self._tracks.add(i, f'{text} z_order="0">\n    </{self._shapes}>\n')
        self._inside = present

    def close(self, names: Mapping[int, str]) -> None:
        """Put the tracks together."""
        ids = self._tracks.ids
        labels = {i: names.get(i) or UNNAMED for i in ids}
        with (self._folder / FILE).open("wb") as file:
            file.write(self._head(list(dict.fromkeys(labels.values()))).encode())
            for i in ids:
                file.write(f'  <track id="{i}" label={quoteattr(labels[i])} source="auto">\n'.encode())
                self._tracks.copy(i, file)
                file.write(b"  </track>\n")
            file.write(b"</annotations>\n")

    def _head(self, labels: list[str]) -> str:
        lines: list[str] = []
        if step_of(self._numbers) is None or self._named:
            # CVAT has no place for them and passes over what it does not know.
            lines.append("    <crwedge>")
            for n in self._numbers:
                name = f" name={quoteattr(self._named[n])}" if n in self._named else ""
                lines.append(f'      <frame number="{n}"{name}></frame>')
            lines.append("    </crwedge>")
        return head(self._video, self._size or (0, 0), self._numbers, labels, self._shapes, more=lines)


def read_cvat(path: Path) -> Annotation:
    """Read CVAT for video 1.1, or CVAT for images 1.1 with track ids.

    Raises:
        FormatError: it is another file, damaged, or has objects that cannot be followed.
    """
    document = _Document(path)
    for kind, tag, attributes, text in xml_elements(path):
        if kind == "start":
            document.start(tag, attributes)
        else:
            document.end(tag, text)
    return document.annotation()


@dataclass
class _Track:
    label: str
    frames: list[int] = field(default_factory=list)
    shapes: list[EncodedMask | None] = field(default_factory=list)
    """None: outside."""

    def add(self, frame: int, shape: EncodedMask | None) -> None:
        at = bisect_right(self.frames, frame)
        self.frames.insert(at, frame)
        self.shapes.insert(at, shape)

    def at(self, frame: int) -> EncodedMask | None:
        place = bisect_right(self.frames, frame) - 1
        return self.shapes[place] if place >= 0 else None


class _Document:
    """What has been read of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tracks: dict[int, _Track] = {}
        self.track: _Track | None = None
        self.meta: dict[str, str] = {}
        self.listed: dict[int, str | None] = {}
        self.tags: list[str] = []
        self.boxes = 0
        self.images = ImageElements(path)
        self.attribute: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.tags and tag != "annotations":
            raise FormatError(f"{self.path} is not a CVAT file: it begins with <{tag}>, not <annotations>")
        self.tags.append(tag)
        try:
            self._start(tag, attributes)
        except (KeyError, ValueError) as error:
            raise FormatError(f"{self.path}: a <{tag}> is damaged or lacks an attribute ({error})") from error
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "track":
            number = int(attributes["id"])
            if number < 0 or number in self.tracks:
                raise FormatError(f"the track {number} comes twice, or is not a whole number from 0")
            self.track = self.tracks[number] = _Track(attributes["label"])
        elif tag == "image" or ("image" in self.tags and tag in ("mask", "polygon")):
            self.images.start(tag, attributes)
        elif tag == "attribute":
            self.attribute = attributes.get("name")
        elif tag == "frame" and "crwedge" in self.tags:
            self.listed[int(attributes["number"])] = attributes.get("name")
        elif self.track is not None and tag in ("mask", "polygon"):
            outside = attributes.get("outside") == "1"
            self.track.add(int(attributes["frame"]), None if outside else shape_of(tag, attributes))
        elif tag in _OTHER_SHAPES and (self.track is not None or "image" in self.tags):
            self.boxes += 1

    def end(self, tag: str, text: str) -> None:
        self.tags.pop()
        if tag == "track":
            self.track = None
        elif tag == "attribute" and "image" in self.tags:
            self.images.attribute(self.attribute, text)
        if text and "meta" in self.tags and "labels" not in self.tags:
            self.meta.setdefault(tag, text)

    def annotation(self) -> Annotation:
        tracks = {number: track for number, track in self.tracks.items() if track.frames}
        if self.images.images:
            if tracks:
                raise FormatError(f"{self.path} has tracks and images; export it as CVAT for video 1.1")
            return self.images.annotation(self.meta, self.boxes)
        if not tracks:
            found = f"; it has {self.boxes} boxes, points or lines" if self.boxes else ""
            raise FormatError(
                f"{self.path} has no masks or polygons in tracks{found}: draw masks, or polygons as tracks"
            )
        # Ids begin with 1; CVAT numbers tracks from 0.
        shift = 1 if 0 in tracks else 0
        if (highest := max(tracks) + shift) > MOST_OBJECTS:
            if len(tracks) > MOST_OBJECTS:
                raise FormatError(
                    f"{self.path} has {len(tracks)} tracks; at most {MOST_OBJECTS} objects can be followed"
                )
            raise FormatError(
                f"{self.path} has the track id {highest}; ids go up to {MOST_OBJECTS}: renumber the tracks"
            )
        log = logging.getLogger("crwedge")
        if shift:
            log.warning("note: %s: tracks count from 0, so object ids are one higher", self.path)
        if self.boxes:
            log.warning("note: %s: %d boxes, points or lines were ignored: they are not masks", self.path, self.boxes)
        objects = {number + shift: track for number, track in sorted(tracks.items())}
        numbers = self._numbers(objects)
        if held := sum(_held(track, numbers) for track in objects.values()):
            log.warning(
                "note: %s: %d frames between keyframes repeat the last polygon; nothing is interpolated",
                self.path,
                held,
            )
        size = check_size(int(self._number("height", 0)), int(self._number("width", 0)), str(self.path))

        def frames() -> Iterator[AnnotatedFrame]:
            canvas = Canvas(size, str(self.path))
            for number in numbers:
                try:
                    shapes = [(i, s.mask(size)) for i, track in objects.items() if (s := track.at(number)) is not None]
                except FormatError as error:
                    raise FormatError(f"{self.path}, frame {number}: {error}") from error
                yield AnnotatedFrame(number, canvas.paint(shapes), self.listed.get(number))
            canvas.report()

        names = {i: track.label for i, track in objects.items() if track.label != UNNAMED}
        return Annotation(Video(video_name(self.meta, self.path.stem)), size, frames, names)

    def _numbers(self, objects: Mapping[int, _Track]) -> list[int] | range:
        if self.listed:
            return sorted(self.listed)
        used = sorted({number for track in objects.values() for number in track.frames})
        step = 1
        if (text := self.meta.get("frame_filter", "")).startswith("step="):
            step = max(1, int(text[5:])) if text[5:].isdecimal() and len(text) < 20 else 1
        first, last = self._number("start_frame", used[0]), self._number("stop_frame", used[-1])
        if first > used[0] or last < used[-1]:
            # The range of a task that was cut, or numbers that count from the task's own start.
            first, last = used[0], used[-1]
        if not 0 <= first <= last < first + _MOST_FRAMES * step:
            raise FormatError(f"{self.path} has frames {first} to {last}; this range is too large or not valid")
        numbers = range(first, last + 1, step)
        return numbers if all(number in numbers for number in used) else range(first, last + 1)

    def _number(self, name: str, default: int) -> int:
        text = self.meta.get(name, "")
        return int(text) if text.isdecimal() and len(text) < 16 else default


def _held(track: _Track, numbers: list[int] | range) -> int:
    """Frames between two polygons of a track that have none of their own, where the polygon changes."""
    count = 0
    for i, (shape, after) in enumerate(zip(track.shapes, track.shapes[1:], strict=False)):
        if isinstance(shape, Polygons) and isinstance(after, Polygons):
            low, high = track.frames[i], track.frames[i + 1]
            count += sum(low < number < high for number in numbers) if high - low > 1 else 0
    return count
