"""`track`, `eval`, `train`, `export` and the probe read the same pixels in the same order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import crwedge as cw
from crwedge.core.images import check_frame
from crwedge.core.location import Location
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.pictures import sequence_of
from crwedge.core.scene import render_scene
from crwedge.eval.datasets import davis_clips
from crwedge.eval.follow import encode
from crwedge.export.test_clips import recorded
from crwedge.train.dataset_index import index_dataset
from crwedge.train.decode import video_clip, video_frames
from crwedge.train.probe import labelled_clip
from tests.unit.conftest import write_video

MODES = ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "12 in 16", "F", "CMYK")


class Recorder:
    """An engine that keeps the frames it is given."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def run(self, frame: np.ndarray) -> np.ndarray:
        self.frames.append(frame)
        return np.zeros((1, 1, 1), np.float32)


def as_mode(frame: np.ndarray, mode: str) -> Image.Image:
    picture = Image.fromarray(frame)
    grey = np.asarray(picture.convert("L"))
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257)
    if mode == "12 in 16":
        return Image.fromarray(grey.astype(np.uint16) * 16)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32) / 255)
    return picture.quantize(32) if mode == "P" else picture.convert(mode)


def read_by_all(root: Path, kinds: dict[str, Any]) -> None:
    frames = root / "seq" / "JPEGImages"
    with cw.open_source(frames) as source:
        tracked = [frame.image for frame in source]
        names = [path.name for path in source.paths]  # type: ignore[attr-defined]
    (clip,) = davis_clips(root)
    assert [path.name for path in clip.frames] == names, kinds
    recorder = Recorder()
    list(encode(recorder, clip.frames, None))  # type: ignore[arg-type]
    (item,) = index_dataset([str(frames)], 10.0).items
    assert [Path(location.path).name for location in item.files] == names, kinds
    trained = [sequence_of(item.files).read(place) for place in range(len(item.files))]
    exported = recorded(str(frames), clip.masks[0]).frames
    probed = labelled_clip(root / "seq", frames=len(names), short_side=10_000).frames
    for number, frame in enumerate(tracked):
        for other in (recorder.frames[number], trained[number], exported[number], probed[number]):
            np.testing.assert_array_equal(other, frame, err_msg=f"{kinds}, frame {number}")
            assert check_frame(other).dtype == np.uint8


@settings(deadline=None, max_examples=16)
@given(
    st.lists(st.integers(0, 1200), min_size=3, max_size=6, unique=True),
    st.sampled_from(["", "frame", "a1_", "日", "x y "]),
    st.sampled_from(MODES),
    st.sampled_from([".png", ".tif"]),
    st.integers(1, 8),
    st.integers(0, 5),
)
def test_folders_of_pictures(numbers: list[int], prefix: str, mode: str, suffix: str, turn: int, zeros: int) -> None:
    if mode in ("CMYK", "F"):
        suffix = ".tif"
    if mode == "LA" and suffix == ".tif":
        suffix = ".png"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind in ("JPEGImages", "Annotations"):
            (root / "seq" / kind).mkdir(parents=True)
        scene = render_scene(len(numbers), 24, 36)
        exif = Image.Exif()
        exif[274] = turn
        upright = (24, 36) if turn < 5 else (36, 24)
        for place, number in enumerate(numbers):
            name = f"{prefix}{number:0{zeros}d}"
            as_mode(scene.frames[place], mode).save(root / "seq" / "JPEGImages" / f"{name}{suffix}", exif=exif)
            mask = np.ones(upright, np.uint8)
            write_mask(root / "seq" / "Annotations" / f"{name}.png", mask)
        (root / "seq" / "JPEGImages" / f"._{prefix}{numbers[0]}{suffix}").write_bytes(b"of another system")
        read_by_all(root, {"mode": mode, "suffix": suffix, "turn": turn, "names": numbers})


@settings(deadline=None, max_examples=6)
@given(st.sampled_from(["mp4", "mkv", "avi", "ts"]), st.integers(3, 12), st.integers(1, 30))
def test_films(suffix: str, count: int, fps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = render_scene(count, 32, 48)
        codec = "libx264" if suffix == "ts" else "mpeg4"
        path = write_video(Path(folder) / f"a.{suffix}", scene.frames, codec=codec, fps=fps, gop=4)
        with cw.open_source(path) as source:
            frames = list(source)
        trained = list(video_frames(Location(str(path)), 0, 10_000.0))
        write_mask(Path(folder) / "m.png", scene.masks[0])
        exported = recorded(str(path), Path(folder) / "m.png").frames
        assert len(frames) == len(trained) == count
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(trained[number], frame.image)
            if number < len(exported):
                np.testing.assert_array_equal(exported[number], frame.image)
        begin = frames[0].pts or 0.0
        times = [(frame.pts or 0.0) - begin for frame in frames]
        for first in range(0, count - 1, 3):
            clip = video_clip(Location(str(path)), times[first : first + 2], 0)
            np.testing.assert_array_equal(clip[0], frames[first].image)
            np.testing.assert_array_equal(clip[1], frames[first + 1].image)


@pytest.mark.parametrize("names", [range(1, 11), range(0, 50, 5)])
def test_masks_that_track_wrote_are_scored_with_their_own_frames(tmp_path: Path, names: range) -> None:
    """Frames numbered from 1, or every fifth one: the masks have the names of the frames, and of the true masks."""
    from crwedge.cli import run
    from crwedge.eval.score_folders import score_folders

    scene = render_scene(len(names), 64, 96, objects=1)
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind).mkdir()
    for name, frame, mask in zip(names, scene.frames, scene.masks, strict=True):
        Image.fromarray(frame).save(tmp_path / "JPEGImages" / f"{name:05d}.png")
        write_mask(tmp_path / "Annotations" / f"{name:05d}.png", mask)
    first = tmp_path / "Annotations" / f"{names[0]:05d}.png"
    command = ["track", str(tmp_path / "JPEGImages"), "--mask", str(first), "--out", str(tmp_path / "masks")]
    assert run([*command, "--set", "threads=1"]) == 0
    written = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert written == [f"{name:05d}.png" for name in names]
    np.testing.assert_array_equal(read_mask(tmp_path / "masks" / first.name), scene.masks[0])
    assert score_folders(tmp_path / "masks", tmp_path / "Annotations").to_dict()["JF"] > 0.5
