"""Frames from a program: every form gives the same pixels and the same label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import SourceError
from crwedge.core.scene import Scene
from crwedge.runtime.sources.arrays import ArraySource, as_source
from crwedge.runtime.sources.frame import Frame


def generated(frames: list[Any]) -> Iterator[Any]:
    yield from frames


FORMS: dict[str, Callable[[list[Any], Path], Any]] = {
    "array": lambda frames, folder: np.stack(frames),
    "list": lambda frames, folder: frames,
    "generator": lambda frames, folder: generated(frames),
    "Pillow": lambda frames, folder: [Image.fromarray(frame) for frame in frames],
    "Frame": lambda frames, folder: [Frame(frame, index) for index, frame in enumerate(frames)],
    "paths": lambda frames, folder: sorted(folder.glob("*.png")),
    "text paths": lambda frames, folder: [str(path) for path in sorted(folder.glob("*.png"))],
    "folder": lambda frames, folder: folder,
    "name": lambda frames, folder: str(folder),
}


@pytest.fixture
def folder(small_scene: Scene, tmp_path: Path) -> Path:
    for index, frame in enumerate(small_scene.frames[:3]):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form: str, small_scene: Scene, folder: Path) -> None:
    frames = list(small_scene.frames[:3])
    with as_source(FORMS[form](frames, folder)) as source:
        assert source.length in (3, None)
        found = list(source)
    assert [frame.index for frame in found] == [0, 1, 2]
    for frame, true in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame.image, true)


@pytest.mark.parametrize("form", ["array", "list", "generator", "Pillow", "paths", "folder"])
def test_propagate_takes_every_form(form: str, small_scene: Scene, folder: Path) -> None:
    frames = list(small_scene.frames[:3])
    with cw.Tracker.open("shipped", workers=1) as tracker:
        expected = [tracker.step(frame, small_scene.masks[0] if i == 0 else None).ids for i, frame in enumerate(frames)]
    found = list(cw.propagate(FORMS[form](frames, folder), small_scene.masks[0], "shipped"))
    for labels, ids in zip(found, expected, strict=True):
        np.testing.assert_array_equal(labels.ids, ids)


def test_a_step_takes_pictures_and_masks_by_their_paths(small_scene: Scene, folder: Path) -> None:
    mask = folder / "mask.png"
    Image.fromarray(np.uint8(255) * (small_scene.masks[0] == 1)).save(mask)
    ids = np.asarray(small_scene.masks[0] == 1).astype(np.uint8)
    with cw.Tracker.open("shipped", workers=1) as tracker:
        expected = [tracker.step(small_scene.frames[0], ids).ids, tracker.step(small_scene.frames[1]).ids]
    with cw.Tracker.open("shipped", workers=1) as tracker:
        found = [tracker.step(folder / "0.png", mask).ids, tracker.step(Image.fromarray(small_scene.frames[1])).ids]
    np.testing.assert_array_equal(found, expected)


def test_stamps_and_one_frame(small_scene: Scene) -> None:
    assert [frame.pts for frame in ArraySource(small_scene.frames[:2], fps=5)] == [0.0, 0.2]
    assert len(list(ArraySource(small_scene.frames[0]))) == 1


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((64, 96), np.uint8), r"uint8 \(T, H, W, 3\), not uint8 \(64, 96\)"),
        (np.zeros((2, 64, 96, 3), np.float32), "frame 0: .*float32"),
        ([np.zeros((64, 96, 3), np.uint8), None], "frame 1: .*NoneType"),
        ([np.zeros((64, 96, 4), np.uint8)], r"frame 0: .*\(64, 96, 4\)"),
        (["no-such.png"], "no-such.png"),
    ],
)
def test_other_things_are_refused_in_one_line(frames: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(ArraySource(frames))
