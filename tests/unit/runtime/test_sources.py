"""Sources: real files, real decoders."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import SettingError, SourceError
from crwedge.core.location import natural_key
from crwedge.core.scene import Scene
from crwedge.runtime.sources.cameras import resolve_camera
from crwedge.runtime.sources.uri import is_reachable, redact
from tests.motion_jpeg import jpegs, motion_jpeg
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
        assert "\n" not in error.value.args[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.mp4", "b.mp4", "notes.txt"], "it holds 2 .mp4: name a film itself"),
        (["a.cr2", "b.cr2", "README"], "it holds 2 .cr2, 1 no suffix: pictures of other kinds have to be saved"),
        (["a/1.png", "b/1.png", "c/1.png", "d/1.png"], r"it holds folders \(a, b, c, ...\): name one of them"),
        ([".hidden"], "it is empty"),
    ],
)
def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=message):
        cw.open_source(tmp_path)


def test_names_that_are_no_source(tmp_path: Path, small_scene: Scene) -> None:
    for name, message in (
        ("  ", "the name of the source is empty"),
        (str(tmp_path / "*.png"), "no picture matches"),
        ("csi://0#size=640x480", "higher than wide; sizes are HEIGHTxWIDTH here: size=480x640"),
    ):
        with pytest.raises(SourceError, match=message):
            cw.open_source(name)


def test_whether_the_other_side_is_there(tmp_path: Path) -> None:
    assert is_reachable("udp://127.0.0.1:9000") is None
    assert is_reachable("srt://host:9000") is None
    null, nothing = is_reachable("/dev/null"), is_reachable("/dev/video97")
    assert null is not None
    assert nothing is not None
    assert (null(), nothing()) == (True, False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ask = is_reachable(f"rtsp://me:secret@127.0.0.1:{port}/live")
        assert ask is not None
        assert ask()
    assert not ask()


def test_pictures_of_two_sizes_are_refused_by_name(tmp_path: Path, small_scene: Scene) -> None:
    folder = folder_of(tmp_path / "f", small_scene.frames)
    Image.fromarray(small_scene.frames[0][:32]).save(folder / "frame3.png")
    with cw.open_source(folder) as source, pytest.raises(SourceError, match=r"frame3\.png is 32x96"):
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
    with pytest.raises(SettingError, match=r"not a TOML file.*line 3"):
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
    assert redact("rtsp://me:secret@host/live") == "rtsp://host/live"


ODD_NAMES = (
    "clip [1080p].mp4", "naïve-日本語 😀.mp4", "100%d %s.mp4", "a#b.mp4", "12:30:00.mp4", "2024-11-14T22:57:44.mp4",
    "camera0.mp4", "http.mp4", "concat:a.mp4", "new\nline.mp4", "it's.mp4", "-x.mp4", "rtsp:x.mp4", "pipe:0.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_that_exists_is_that_file(
    tmp_path: Path, small_scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRWEDGE_CONFIG", str(tmp_path / "none.toml"))
    write_video(tmp_path / "a.mp4", small_scene.frames)
    (tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, f"./{name}", str(tmp_path / name), tmp_path / name):
        with cw.open_source(path) as source:
            assert len(list(source)) == 6


def test_a_name_that_is_no_text(tmp_path: Path, small_scene: Scene) -> None:
    write_video(tmp_path / "a.mp4", small_scene.frames)
    name = os.fsdecode(os.fsencode(tmp_path) + b"/lat\xe9n.mp4")
    os.rename(tmp_path / "a.mp4", name)
    with cw.open_source(name) as source:
        assert len(list(source)) == 6


@pytest.mark.parametrize("name", ["dir [x]", "dir*y", "a:b", "日本"])
def test_folders_and_globs_with_odd_names(tmp_path: Path, small_scene: Scene, name: str) -> None:
    folder_of(tmp_path / name, small_scene.frames)
    for source in (tmp_path / name, f"{tmp_path}/{name}/*.png"):
        with cw.open_source(source) as opened:
            assert len(list(opened)) == 6


def test_hidden_files_and_masks_beside_their_frames(tmp_path: Path, small_scene: Scene) -> None:
    folder = folder_of(tmp_path / "f", small_scene.frames)
    (folder / "._frame0.png").write_bytes(b"resource fork")
    with cw.open_source(folder) as source:
        assert [frame.name for frame in source] == [f"frame{index}" for index in range(6)]
    Image.fromarray(small_scene.masks[0]).save(folder / "frame0.bmp")
    with pytest.raises(SourceError, match=r"frame0\.bmp and frame0\.png"):
        cw.open_source(folder)


def test_pictures_of_several_folders_are_in_order_and_numbered(tmp_path: Path, small_scene: Scene) -> None:
    for name in ("d10", "d9"):
        folder_of(tmp_path / name, small_scene.frames[:2])
    with cw.open_source(f"{tmp_path}/d*/*.png") as source:
        frames = list(source)
        assert [path.parent.name for path in source.paths] == ["d9", "d9", "d10", "d10"]  # type: ignore[attr-defined]
    assert [frame.name for frame in frames] == [None] * 4


def test_an_animated_picture_is_a_film_and_in_a_folder_refused(tmp_path: Path, small_scene: Scene) -> None:
    images = [Image.fromarray(frame) for frame in small_scene.frames]
    (tmp_path / "f").mkdir()
    images[0].save(tmp_path / "f" / "a.png", save_all=True, append_images=images[1:], duration=100)
    with cw.open_source(tmp_path / "f" / "a.png") as source:
        frames = list(source)
    assert [frame.pts for frame in frames] == pytest.approx([index / 10 for index in range(6)])
    np.testing.assert_array_equal(frames[4].image, small_scene.frames[4])
    with cw.open_source(tmp_path / "f") as source, pytest.raises(SourceError, match="animated"):
        list(source)


def test_options_of_a_file(tmp_path: Path, small_scene: Scene) -> None:
    path = write_video(tmp_path / "a.mp4", small_scene.frames)
    with cw.open_source(f"{path}#stream=0") as source:
        assert len(list(source)) == 6
    for options, word in (
        ("stream=1", "1 video streams"),
        ("size=3x4", "no option size"),
        ("stream=x", "must look like"),
    ):
        with pytest.raises(SourceError, match=word):
            cw.open_source(f"{path}#{options}")


@pytest.fixture
def long_film(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A film of one group of pictures, longer than a block that is read backwards."""
    frames = np.full((75, 48, 64, 3), 30, np.uint8)
    for number in range(75):
        for bit in range(8):
            frames[number, :, 8 * bit : 8 * bit + 8] += np.uint8(180 * (number >> bit & 1))
    return write_video(tmp_path / "long.mp4", frames, codec="libx264", gop=250), frames


def shown_number(image: np.ndarray) -> int:
    columns = image.astype(float).mean(axis=(0, 2)).reshape(8, 8).mean(axis=1)
    return sum(1 << bit for bit in range(8) if columns[bit] > 120)


@pytest.mark.parametrize("start", [None, 0, 1, 40, 74])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_film_from_any_frame_in_both_directions(
    long_film: tuple[Path, np.ndarray], start: int | None, reverse: bool
) -> None:
    with cw.open_source(long_film[0], start=start, reverse=reverse) as source:
        frames = list(source)
    expected = list(range(74 if start is None else start, -1, -1)) if reverse else list(range(start or 0, 75))
    assert [frame.index for frame in frames] == expected
    assert [shown_number(frame.image) for frame in frames] == expected
    assert [frame.pts for frame in frames] == pytest.approx([number / 10 for number in expected])
    if start is not None or reverse:
        assert [frame.name for frame in frames] == [f"{number:05d}" for number in expected]
    assert source.length == len(expected)


def test_pictures_from_any_frame_in_both_directions(tmp_path: Path, small_scene: Scene) -> None:
    folder = folder_of(tmp_path / "f", small_scene.frames)
    for start, reverse, expected in ((2, False, [2, 3, 4, 5]), (2, True, [2, 1, 0]), (None, True, [5, 4, 3, 2, 1, 0])):
        with cw.open_source(folder, start=start, reverse=reverse) as source:
            frames = list(source)
        assert [frame.index for frame in frames] == expected
        assert [frame.name for frame in frames] == [f"frame{number}" for number in expected]
        np.testing.assert_array_equal(frames[0].image, small_scene.frames[expected[0]])


def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, small_scene: Scene) -> None:
    path, folder = write_video(tmp_path / "a.mp4", small_scene.frames), folder_of(tmp_path / "f", small_scene.frames)
    for source in (path, folder):
        for reverse in (False, True):
            with (
                cw.open_source(source, start=6, reverse=reverse) as opened,
                pytest.raises(SourceError, match="no frame 6; it has 6 frames"),
            ):
                list(opened)


def test_a_live_source_is_stamped_by_the_clock_and_cannot_go_backwards(small_scene: Scene) -> None:
    pictures = jpegs(small_scene.frames, quality=75)
    with motion_jpeg(lambda: itertools.islice(itertools.cycle(pictures), 100), 5) as uri:
        with cw.open_source(uri) as source:
            begin = time.time()
            frames = [frame for _, frame in zip(range(12), source, strict=False)]
            end = time.time()
        with pytest.raises(SourceError, match="is live"):
            cw.open_source(uri, reverse=True)
    stamps = [frame.pts for frame in frames if frame.pts is not None]
    assert stamps[0] == 0.0
    # FFmpeg stamps such a stream as 25 frames a second; what was buffered at the start comes at once.
    assert np.median(np.diff(stamps)) > 0.1
    assert stamps[-1] <= end - begin + 0.5
    assert all(frame.time is not None and begin - 5 <= frame.time <= end for frame in frames)


def test_a_picture_over_the_limit_in_the_middle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The good pictures before it come; then one line with the cure."""
    monkeypatch.setattr("crwedge.core.pictures.MAX_PIXELS", 10_000)
    small, large = np.zeros((4, 64, 96, 3), np.uint8), np.zeros((2, 96, 128, 3), np.uint8)
    parts = [write_video(tmp_path / f"{n}.ts", frames, "mpeg2video", 25) for n, frames in enumerate((small, large))]
    (tmp_path / "film.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    (tmp_path / "folder").mkdir()
    for number, frame in enumerate((small[0], small[1], large[0], small[2])):
        Image.fromarray(frame).save(tmp_path / "folder" / f"{number}.png")
    for name, good in (("film.ts", 4), ("folder", 2)):
        seen = []
        with cw.open_source(tmp_path / name) as source, pytest.raises(SourceError, match="shrink it") as caught:
            for frame in source:
                seen.append(frame.image.shape)
        # The decoder may drop the picture before a change of size.
        assert len(seen) in (good - 1, good)
        assert set(seen) == {(64, 96, 3)}
        assert "96x128 (height x width)" in str(caught.value)
        assert "\n" not in caught.value.args[0]
