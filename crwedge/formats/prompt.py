"""Annotations as prompts: the first annotated frame, with the names of its objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SettingError
from crwedge.core.joints import Joints, read_joints
from crwedge.core.masks import object_ids, read_mask
from crwedge.formats.annotation import MOST_OBJECTS, FormatError
from crwedge.formats.json_file import read_json
from crwedge.formats.open import open_annotation


@dataclass(frozen=True)
class AnnotatedMask:
    """The mask of an annotated frame."""

    mask: NDArray[np.uint8]
    """(H, W) ids, 0 background, 255 void."""
    frame: int = 0
    """Number of its frame in the video, from 0."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of the objects that have one."""


def read_prompt(path: str | Path, frame: int | None = None) -> NDArray[np.uint8] | Joints | AnnotatedMask:
    """Read what to follow: a mask (a picture), joints (`*.json`, `*.mat`), or a frame of an annotation.

    Annotations are CVAT (`*.xml`, `*.zip`), COCO (`*.json`), JSON Lines (`*.jsonl`) and folders; see
    `crwedge.formats.open.open_annotation`.

    Args:
        path: the file or folder.
        frame: number of the frame to take of an annotation; by default the first with an object.

    Raises:
        MaskError: it is missing, damaged or something else, or shows no object in that frame.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_dir() and suffix not in (".xml", ".zip", ".jsonl") and not (suffix == ".json" and _is_coco(path)):
        return read_joints(path) if suffix in (".json", ".mat") else read_mask(path)
    try:
        with open_annotation(path) as annotation:
            for annotated in annotation.frames():
                ids = object_ids(annotated.ids)
                if ids and frame in (None, annotated.number):
                    names = {i: annotation.names[i] for i in ids if i in annotation.names}
                    return AnnotatedMask(annotated.ids, annotated.number, names)
    except FormatError as error:
        raise MaskError(str(error)) from error
    where = "" if frame is None else f" in frame {frame}: leave --start out, or name a frame that has some"
    raise MaskError(f"{path} shows no object{where}")


def parse_names(text: str | None) -> dict[int, str]:
    """`1=dog,2=rider` -> {1: "dog", 2: "rider"}; None is no name.

    Raises:
        SettingError: it has another form, or an id comes twice.
    """
    names: dict[int, str] = {}
    for part in text.split(",") if text is not None else ():
        match = re.fullmatch(r"\s*(\d{1,3})\s*=\s*(\S[^=]*?)\s*", part)
        if match is None or not 0 < int(match[1]) <= MOST_OBJECTS:
            raise SettingError(f"names {text!r}: write ID=NAME with commas, such as 1=dog,2=rider (ids 1 to 254)")
        if int(match[1]) in names:
            raise SettingError(f"names {text!r}: the id {match[1]} comes twice")
        names[int(match[1])] = match[2]
    return names


def _is_coco(path: Path) -> bool:
    """Whether a JSON file is COCO, and not joints."""
    if not path.is_file():
        return False
    try:
        data = read_json(path)
    except FormatError:
        return False
    return isinstance(data, dict) and "annotations" in data and "images" in data
