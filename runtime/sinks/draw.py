"""Pictures of label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crwedge.core.joints import FrameJoints
from crwedge.core.labels import LabelMap
from crwedge.core.palette import bright_palette
from crwedge.core.places import ObjectPlace, object_places

_NAMED_JOINTS = 240
"""Shorter side in pixels of frames on which joints are drawn with their names."""


def overlay(frame: NDArray[np.uint8], ids: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with its objects tinted in bright colours and outlined in white."""
    out = frame.copy()
    inside = ids > 0
    if inside.any():
        tint = bright_palette()[ids[inside]].astype(np.float32)
        out[inside] = (frame[inside] * (1 - opacity) + tint * opacity).astype(np.uint8)
    edge = np.zeros(ids.shape, np.bool_)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    out[edge] = 255
    return out


def draw_names(frame: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with a tag at each object: its name or id, its state unless it is `ok`, its confidence.

    Objects that are nowhere in the frame, but have a state, are listed in the corner.
    """
    from PIL import Image, ImageDraw, ImageFont

    places = object_places(labels.ids)
    lost = [i for i in labels.object_ids if i not in places and labels.states.get(i, "ok") != "ok"]
    if not places and not lost:
        return frame
    size = max(11, round(min(frame.shape[:2]) / 32))
    font = ImageFont.load_default(size)
    image = Image.fromarray(frame)
    pen = ImageDraw.Draw(image)
    corner = 2
    tags: list[tuple[int, int, int]] = []
    for i in [*places, *lost]:
        words = [labels.names.get(i, str(i))]
        if (state := labels.states.get(i, "ok")) != "ok":
            words.append(state)
        if i in labels.confidence:
            words.append(f"{100 * labels.confidence[i]:.0f}%")
        text = " ".join(words)
        left, top, right, bottom = (int(side) for side in pen.textbbox((0, 0), text, font=font))
        width, height = right - left + 4, bottom - top + 4
        x, y = 2, corner
        if i in places:
            top_x, top_y = _anchor(labels.ids == i, places[i])
            x, y = top_x - width // 2, top_y - height - 1
            if y < 0:
                # No room above: inside, below the upper edge.
                y = top_y + 1
        else:
            corner += height + 2
        x, y = max(0, min(x, frame.shape[1] - width)), max(0, min(y, frame.shape[0] - height))
        while any(abs(x - a) < max(width, w) and abs(y - b) < height for a, b, w in tags):
            y += height + 1
        tags.append((x, y, width))
        colour = tuple(int(part) for part in bright_palette()[i])
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        dark = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 110
        pen.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if dark else (255, 255, 255))
    return np.asarray(image)


def _anchor(mask: NDArray[np.bool_], place: ObjectPlace) -> tuple[int, int]:
    """Column and row of the object's uppermost pixel in the column through its centre, or nearest to that column.

    The corner of its box is often on another object.
    """
    x, y, width, height = place.box
    columns = np.flatnonzero(mask[y : y + height, x : x + width].any(axis=0)) + x
    nearest = int(columns[np.argmin(np.abs(columns - place.centre[0]))])
    return nearest, int(np.argmax(mask[:, nearest]))


def draw_joints(
    frame: NDArray[np.uint8], xy: NDArray[np.float64], numbers: Sequence[int] | None = None, radius: float = 3.0
) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with a disc in bright colours, ringed in white, on each joint that has a place.

    Args:
        frame: the picture.
        xy: (J, 2) x and y in its pixels, a whole number is a pixel's centre; NaN is not drawn.
        numbers: what the colours follow; 1 to J by default.
        radius: of the discs, in pixels.
    """
    out = frame.copy()
    height, width = frame.shape[:2]
    for number, (x, y) in zip(numbers or range(1, 1 + len(xy)), xy, strict=True):
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        left, top = max(0, math.floor(x - radius - 1)), max(0, math.floor(y - radius - 1))
        right, bottom = min(width, math.ceil(x + radius + 2)), min(height, math.ceil(y + radius + 2))
        if left >= right or top >= bottom:
            continue
        distance = np.hypot(np.arange(left, right) - x, (np.arange(top, bottom) - y)[:, None])
        patch = out[top:bottom, left:right]
        patch[distance <= radius + 1] = 255
        patch[distance <= radius] = bright_palette()[number]
    return out


def draw_joint_names(frame: NDArray[np.uint8], joints: FrameJoints, radius: float) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with the name of each joint that has a place, beside its disc."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(frame)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(max(10, round(min(frame.shape[:2]) / 45)))
    for name, (x, y), seen in zip(joints.names, joints.xy, joints.visible, strict=True):
        if seen:
            where = (x + radius + 2, y)
            pen.text(where, name, font=font, anchor="lm", fill="white", stroke_width=1, stroke_fill="black")
    return np.asarray(image)


def draw(frame: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    """The frame RGB (H, W, 3) with what is followed in it: joints as discs, objects tinted and named."""
    if labels.joints is None:
        return draw_names(overlay(frame, labels.ids), labels)
    # Visible on a small picture, and not in the way on a large one.
    radius = max(3.0, min(frame.shape[:2]) / 120)
    drawn = draw_joints(frame, labels.joints.xy, labels.object_ids, radius)
    # On a smaller picture names would hide what they are of.
    return drawn if min(frame.shape[:2]) < _NAMED_JOINTS else draw_joint_names(drawn, labels.joints, radius)


def caption(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """The picture RGB (H, W, 3) with a line of white text in its upper left corner."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    font = ImageFont.load_default(max(12, round(min(picture.shape[:2]) / 12)))
    ImageDraw.Draw(image).text((6, 4), text, font=font, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(image)


def sheet(rows: list[list[NDArray[np.uint8]]], gap: int = 4) -> NDArray[np.uint8]:
    """Pictures of one size, RGB (H, W, 3), in rows on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    size = (len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3)
    out = np.full(size, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = gap + i * (height + gap), gap + j * (width + gap)
            out[y : y + height, x : x + width] = picture
    return out
