"""What CVAT for video and CVAT for images share: the head of the file, and how a shape is written and read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from crwedge.core.films import VIDEO_SUFFIXES
from crwedge.core.palette import palette
from crwedge.formats.annotation import Video
from crwedge.formats.polygons import one_polygon
from crwedge.formats.runs import BoxRuns, EncodedMask, Polygons, polygon

FILE = "annotations.xml"
Shapes = Literal["mask", "polygon"]
Mode = Literal["interpolation", "annotation"]
"""CVAT's names: `interpolation` is CVAT for video (tracks), `annotation` is CVAT for images."""


def head(
    video: Video,
    size: tuple[int, int],
    numbers: list[int],
    labels: Iterable[str],
    shapes: Shapes,
    mode: Mode = "interpolation",
    attributes: Iterable[str] = (),
    more: Iterable[str] = (),
) -> str:
    """The lines before the first track or image.

    Args:
        video: what is annotated.
        size: (H, W) of the frames.
        numbers: of the frames, in rising order.
        labels: names of the classes.
        shapes: the kind of shape that the classes have.
        mode: see `Mode`.
        attributes: names of the attributes of each class; they are text.
        more: lines at the end of `meta`.
    """
    numbers = numbers or [0]
    colours = palette()
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta>"]
    lines += ["    <task>", f"      <name>{escape(video.name)}</name>", f"      <size>{len(numbers)}</size>"]
    lines += [f"      <mode>{mode}</mode>", "      <overlap>0</overlap>", "      <subset>default</subset>"]
    lines += [f"      <start_frame>{numbers[0]}</start_frame>", f"      <stop_frame>{numbers[-1]}</stop_frame>"]
    step = step_of(numbers) or 1
    lines += [f"      <frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter>", "      <labels>"]
    known = [f"            {_attribute(name)}" for name in attributes]
    for number, label in enumerate(labels, start=1):
        colour = "".join(f"{int(part):02x}" for part in colours[number])
        lines += ["        <label>", f"          <name>{escape(label)}</name>", f"          <color>#{colour}</color>"]
        lines += [f"          <type>{shapes}</type>"]
        lines += ["          <attributes>", *known, "          </attributes>", "        </label>"]
    lines += ["      </labels>", "      <original_size>", f"        <width>{size[1]}</width>"]
    lines += [f"        <height>{size[0]}</height>", "      </original_size>"]
    lines += [f"      <source>{escape(video.name)}</source>", "    </task>", *more, "  </meta>"]
    return "\n".join(lines) + "\n"


def step_of(numbers: list[int]) -> int | None:
    """The distance between the frames; None where it varies."""
    steps = np.unique(np.diff(np.array(numbers)))
    return None if len(steps) > 1 else int(steps[0]) if len(steps) else 1


def shape_text(mask: NDArray[np.bool_], shapes: Shapes) -> str:
    """A mask (H, W) that is not empty, as attributes of its element."""
    if shapes == "polygon":
        return f'points="{";".join(f"{x:.2f},{y:.2f}" for x, y in one_polygon(mask))}"'
    runs = BoxRuns.of(mask)
    where = f'left="{runs.left}" top="{runs.top}" width="{runs.width}" height="{runs.height}"'
    return f'rle="{runs.runs}" {where}'


def shape_of(tag: str, attributes: Mapping[str, str]) -> EncodedMask:
    """The shape of an element `mask` or `polygon`; KeyError, ValueError or FormatError where it is damaged."""
    if tag == "polygon":
        return Polygons((polygon([pair.split(",") for pair in attributes["points"].split(";")]),))
    left, top, width, height = (int(attributes[name]) for name in ("left", "top", "width", "height"))
    return BoxRuns(left, top, width, height, attributes["rle"])


def video_name(meta: Mapping[str, str], default: str) -> str:
    """The name of the video by the elements of `meta`, without the suffix of a film."""
    name = meta.get("source") or meta.get("name") or default
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name


def _attribute(name: str) -> str:
    kinds = "<mutable>False</mutable><input_type>text</input_type><default_value></default_value><values></values>"
    return f"<attribute><name>{name}</name>{kinds}</attribute>"
