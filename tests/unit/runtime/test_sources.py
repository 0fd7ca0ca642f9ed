"""Sources: real files, real decoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import SettingError, SourceError
from crwedge.core.scene import Scene
from crwedge.runtime.sources.cameras import resolve_camera
from crwedge.runtime.sources.images import natural_key
from crwedge.runtime.sources.uri import without_credentials
from tests.unit.conftest import write_video


def folder_of(path: Path, frames: np.ndarray) -> Path:
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"frame{index}.png")
    return path


def test_folder_in_natural_order(tmp_path: Path, small_scene: Scene) -> None:
    folder = folder_of(tmp_path / "f", np.concatenate([small_scene.frames, small_scene.frames]))
    (folder / "notes.txt").write_text("not a picture")
    with cw.open_source(folder) as source:
        got = list(source)
    assert source.length == 12
    assert [frame.index for frame in got] == list(range(12))
    np.testing.assert_array_equal(got[10].image, small_scene.frames[4])


def test_glob(tmp_path: Path, small_scene: Scene) -> None:
    folder_of(tmp_path / "f", small_scene.frames)
    with cw.open_source(f"{tmp_path}/f/frame[0-2].png") as source:
        assert len(list(source)) == 3
    with pytest.raises(SourceError, match="no picture matches"):
        cw.open_source(f"{tmp_path}/f/*.jpg")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_video_with_time_stamps(tmp_path: Path, small_scene: Scene, name: str) -> None:
    path = write_video(tmp_path / name, small_scene.frames)
    with cw.open_source(path) as source:
        assert source.fps == pytest.approx(10)
        got = list(source)
    assert len(got) == 6
    assert got[0].image.shape == (64, 96, 3)
    assert np.diff([frame.pts for frame in got]) == pytest.approx(0.1)
    assert np.abs(got[3].image.astype(int) - small_scene.frames[3]).mean() < 12


def test_a_truncated_video_gives_what_it_holds_and_then_says_so(tmp_path: Path, small_scene: Scene) -> None:
    frames = np.concatenate([small_scene.frames] * 8)
    whole = write_video(tmp_path / "whole.mp4", frames, options={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    got = []
    with cw.open_source(cut) as source, pytest.raises(SourceError, match=r"cut short|damaged"):
        for frame in source:
            got.append(frame)
    assert 5 < len(got) < 48


def test_refusals_are_one_line(tmp_path: Path, small_scene: Scene) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 50)
    empty = tmp_path / "empty"
    empty.mkdir()
    zero = tmp_path / "zero.mp4"
    zero.touch()
    for bad in (text, empty, zero, tmp_path / "none.mp4", "ftp://host/x", "v4l2:///dev/video97", "camera98"):
        with pytest.raises(SourceError) as error:
            cw.open_source(bad)
        assert "\n" not in str(error.value)


def test_pictures_of_two_sizes_are_refused_by_name(tmp_path: Path, small_scene: Scene) -> None:
    folder = folder_of(tmp_path / "f", small_scene.frames)
    Image.fromarray(small_scene.frames[0][:32]).save(folder / "frame3.png")
    with cw.open_source(folder) as source, pytest.raises(SourceError, match=r"frame3\.png is 96x32"):
        list(source)


def test_sound_alone_has_no_pictures(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0" * 1600)
    with pytest.raises(SourceError, match="no pictures"):
        cw.open_source(tmp_path / "sound.wav")


def test_camera_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setenv("CRWEDGE_CONFIG", str(config))
    assert resolve_camera("camera3") == "v4l2:///dev/video3"
    config.write_text(
        "[other]\ncamera0 = 'x'\n[cameras]\n# mine\ncamera0 = \"door.mp4\" # a comment\nporch = 'v4l2:///dev/video7'\n"
    )
    assert resolve_camera("camera0") == "door.mp4"
    assert resolve_camera("porch") == "v4l2:///dev/video7"
    assert resolve_camera("clip.mp4") == "clip.mp4"
    config.write_text("[cameras]\ncamera0 = 3\n")
    with pytest.raises(SettingError, match="camera0 = 3"):
        resolve_camera("camera0")
    config.write_text("[cameras]\nporch = 'a'\ncamera0 = door.mp4\n")
    with pytest.raises(SettingError, match=r"no TOML file.*line 3"):
        resolve_camera("camera0")
    config.write_bytes(b"\xef\xbb\xbf[cameras]\r\ncamera0 = 'door.mp4'\r\n")
    assert resolve_camera("camera0") == "door.mp4"


def test_an_alias_opens_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_scene: Scene) -> None:
    path = write_video(tmp_path / "clip.mp4", small_scene.frames)
    config = tmp_path / "config.toml"
    config.write_text(f'[cameras]\ncamera0 = "{path}"\n')
    monkeypatch.setenv("CRWEDGE_CONFIG", str(config))
    with cw.open_source("camera0") as source:
        assert len(list(source)) == 6


def test_small_parts() -> None:
    assert sorted(["a10", "a9", "b1", "a"], key=natural_key) == ["a", "a9", "a10", "b1"]
    assert without_credentials("rtsp://me:secret@host/live") == "rtsp://host/live"
