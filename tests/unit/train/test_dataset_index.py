from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from crwedge.core import files
from crwedge.core.errors import SourceError
from crwedge.core.location import Location
from crwedge.core.pictures import read_picture
from crwedge.train.dataset_index import INDEX, index_dataset
from crwedge.train.decode import probe_video, video_clip, video_frames
from tests.unit.conftest import write_video
from tests.unit.train.conftest import write_counting_video, write_sound


def number(frame: np.ndarray) -> int:
    """Which frame of `write_counting_video` this is."""
    return round((float(frame.mean()) - 8) / 16)


def pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((40, 60, 3), 16 * index + 8, np.uint8)).save(folder / f"{index:05d}.png")
    return folder


def test_clips_show_the_frames_of_their_times(tmp_path: Path) -> None:
    video = Location(str(write_counting_video(tmp_path / "a.mp4", frames=14, rate=8)))
    for times in ([0.0, 0.125, 0.25], [0.75, 1.0, 1.25], [1.625], [0.3, 0.31, 5.0]):
        found = [number(frame) for frame in video_clip(video, times, 0)]
        assert found == [min(int(time * 8 + 1e-6), 13) for time in times]


def test_variable_frame_rate_is_read_by_time(tmp_path: Path) -> None:
    times = [0, 1, 2, 10, 11, 20, 21, 22]
    video = Location(str(write_counting_video(tmp_path / "a.mkv", frames=8, rate=10, times=times)))
    found = [number(frame) for frame in video_clip(video, [0.1, 0.5, 1.05, 1.9, 2.15], 0)]
    assert found == [1, 2, 3, 4, 6]


def test_whole_videos_are_thinned_and_shrunk(tmp_path: Path) -> None:
    video = Location(str(write_counting_video(tmp_path / "a.mp4", frames=12, rate=8, size=(48, 64))))
    frames = list(video_frames(video, 24, 4.0))
    assert [number(frame) for frame in frames] == [0, 2, 4, 6, 8, 10]
    assert frames[0].shape == (24, 32, 3)


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.width, stream.height, stream.pix_fmt = 53, 91, "bgr0"
        for index in range(4):
            image = np.full((91, 53, 3), 16 * index + 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    found = index_dataset([str(tmp_path)], 10.0)
    frames = video_clip(found.items[0].files[0], [0.0, 0.25], 48)
    assert [number(frame) for frame in frames] == [0, 2]
    assert frames[0].shape == (82, 48, 3)


def test_any_mix_of_sources_is_found(tmp_path: Path, clips: Path) -> None:
    frames = pictures(tmp_path / "frames" / "dog")
    single = write_counting_video(tmp_path / "more" / "x.avi")
    listing = tmp_path / "list.txt"
    listing.write_text("# chosen\nmore/x.avi\nframes\n")
    found = index_dataset([str(clips), str(frames.parent), str(listing), str(single)], 10.0)
    assert [item.name for item in found.items] == ["dog", "dog", "a.mp4", "b.mp4", "c.mkv", "x.avi", "x.avi"]
    assert not found.broken
    dog = found.items[0]
    assert not dog.video
    assert dog.seconds == pytest.approx(0.3)
    assert len(dog.files) == 3
    assert found.items[2].seconds == pytest.approx(1.5, abs=0.13)
    stills = index_dataset([str(frames.parent)], 10.0, stills=True)
    assert len(stills.items) == 3
    assert all(item.still for item in stills.items)


def test_shards_hold_videos_and_frames(tmp_path: Path, clips: Path) -> None:
    frames = pictures(tmp_path / "frames")
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        tar.add(clips / "a.mp4", "k1.mp4")
        tar.add(clips / "b.mp4", "k2.mp4")
        (tmp_path / "k1.json").write_text("{}")
        tar.add(tmp_path / "k1.json", "k1.json")
        for index, path in enumerate(sorted(frames.iterdir())):
            tar.add(path, f"k3.{index:06d}.png")
    found = index_dataset([str(tmp_path / "00000.tar")], 10.0)
    assert [item.name for item in found.items] == ["k3", "k1.mp4", "k2.mp4"]
    assert number(read_picture(found.items[0].files[2])) == 2
    assert [number(frame) for frame in video_clip(found.items[1].files[0], [0.0, 0.75], 0)] == [0, 6]


def test_broken_files_are_named_with_a_reason(tmp_path: Path) -> None:
    write_counting_video(tmp_path / "good.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "bad.tar").write_text("no tar")
    write_sound(tmp_path / "sound.mkv")
    found = index_dataset([str(tmp_path)], 10.0)
    assert [item.name for item in found.items] == ["good.mp4"]
    reasons = {Path(path).name: reason for path, reason in found.broken}
    assert set(reasons) == {"empty.mp4", "text.mp4", "sound.mkv", "bad.tar"}
    assert reasons["empty.mp4"] == "it is empty"
    assert "only sound" in reasons["sound.mkv"]


def test_the_index_is_kept_and_follows_changes(clips: Path, tmp_path: Path) -> None:
    index_dataset([str(clips)], 10.0)
    index = json.loads((clips / INDEX).read_text())
    index["files"]["a.mp4"]["seconds"] = 99.0
    (clips / INDEX).write_text(json.dumps(index))
    assert index_dataset([str(clips)], 10.0).items[0].seconds == 99.0
    write_counting_video(clips / "a.mp4", frames=20)
    assert index_dataset([str(clips)], 10.0).items[0].seconds == pytest.approx(2.5, abs=0.13)
    (clips / INDEX).write_text("damaged")
    assert len(index_dataset([str(clips)], 10.0).items) == 3


def test_an_index_that_cannot_lie_beside_the_data_lies_in_the_cache(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.atomic_write

    def refuse(path: Path):  # type: ignore[no-untyped-def]
        if path.parent == clips:
            raise PermissionError(13, "Permission denied")
        return write(path)

    monkeypatch.setattr("crwedge.train.dataset_index.atomic_write", refuse)
    index_dataset([str(clips)], 10.0)
    assert not (clips / INDEX).exists()
    assert len(list((tmp_path / "cache" / "crwedge" / "index").iterdir())) == 1


def test_a_folder_that_nobody_may_write_into_gets_no_index(clips: Path, tmp_path: Path) -> None:
    # Root may write there all the same, so the attempt alone says nothing.
    clips.chmod(0o555)
    try:
        index_dataset([str(clips)], 10.0)
    finally:
        clips.chmod(0o755)
    assert not (clips / INDEX).exists()
    assert len(list((tmp_path / "cache" / "crwedge" / "index").iterdir())) == 1


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no"):
        index_dataset([str(tmp_path / "nothing")], 10.0)


def test_hidden_files_are_left_alone(clips: Path) -> None:
    shutil.copy(clips / "a.mp4", clips / ".hidden.mp4")
    assert len(index_dataset([str(clips)], 10.0).items) == 3


def test_masks_beside_a_video_are_not_footage(clips: Path) -> None:
    before = index_dataset([str(clips)], 8)
    video = next(path for path in sorted(clips.iterdir()) if path.suffix == ".mp4")
    for name in (f"{video.stem}.png", f"{video.stem}_mask.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(clips / name)
    assert index_dataset([str(clips)], 8).items == before.items
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(clips / "photograph.png")
    assert len(index_dataset([str(clips)], 8).items) == len(before.items) + 1


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "clip", 12)
    for path in sorted(folder.iterdir(), reverse=True):
        path.rename(folder / f"{int(path.stem) + 1}.png")
    (folder / "._1.png").write_bytes(b"resource fork")
    (item,) = index_dataset([str(tmp_path)], 10.0).items
    assert [Path(location.path).name for location in item.files] == [f"{number}.png" for number in range(1, 13)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path in folder.iterdir():
            tar.add(path, f"clip.{path.stem}.png" if path.stem[0] != "." else f"clip/{path.name}")
    (item,) = index_dataset([str(tmp_path / "a.tar")], 10.0).items
    assert [location.name for location in item.files] == [f"clip.{number}.png" for number in range(1, 13)]


def test_links_to_folders_above_are_walked_once(clips: Path) -> None:
    (clips / "all").symlink_to("..")
    (clips / "more").symlink_to(".")
    assert len(index_dataset([str(clips)], 10.0).items) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_lists_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    write_counting_video(tmp_path / "naïve clip.mp4")
    (tmp_path / "list.txt").write_bytes("naïve clip.mp4\r\n".encode(encoding))
    assert [item.name for item in index_dataset([str(tmp_path / "list.txt")], 10.0).items] == ["naïve clip.mp4"]


def test_a_folder_of_frames_and_their_masks_is_left_out_and_named(tmp_path: Path) -> None:
    pictures(tmp_path / "good")
    mixed = pictures(tmp_path / "mixed")
    Image.new("RGB", (60, 40)).save(mixed / "00001.jpg")
    found = index_dataset([str(tmp_path)], 10.0)
    assert [item.name for item in found.items] == ["good"]
    assert found.broken == ((str(mixed), "it holds 00001.jpg and 00001.png: one picture a name is needed"),)


@pytest.mark.parametrize(
    ("name", "form", "gop"), [("a.ts", "mpegts", 12), ("a.mpg", "mpeg", 12), ("a.ts", "mpegts", 250)]
)
def test_moments_of_streams_without_an_index(tmp_path: Path, name: str, form: str, gop: int) -> None:
    codec = "mpeg2video" if form == "mpeg" else "libx264"
    frames = np.stack([np.full((48, 64, 3), 16 + 3 * index, np.uint8) for index in range(75)])
    path = write_video(tmp_path / name, frames, codec=codec, fps=25, form=form, gop=gop)
    seconds = probe_video(Location(str(path))).seconds
    assert seconds == pytest.approx(3.0, abs=0.1)
    for start in (0.1, 0.9, 1.6, 2.3):
        clip = video_clip(Location(str(path)), [start + 0.125 * index for index in range(4)], 0)
        found = [(float(frame.mean()) - 16) / 3 for frame in clip]
        expected = [int((start + 0.125 * index) * 25 + 1e-6) for index in range(4)]
        # The muxer of program streams gives one picture the stamp of the one before it.
        assert found == pytest.approx(expected, abs=1.6)


def test_a_video_that_breaks_off_is_as_long_as_what_it_holds(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    path = write_video(tmp_path / "a.mp4", frames, options={"movflags": "faststart"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert 1.5 < probe_video(Location(str(path))).seconds < 4.5
    assert index_dataset([str(path)], 10.0).items[0].seconds < 4.5


def test_pictures_of_sixteen_bit_and_turned_ones_are_read_as_by_track(tmp_path: Path) -> None:
    values = (np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) % 256) * 257
    Image.fromarray(values).save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "turned.jpg", exif=exif)
    found = index_dataset([str(tmp_path)], 10.0, stills=True)
    deep, turned = (read_picture(item.files[0]) for item in found.items)
    np.testing.assert_array_equal(deep[..., 0], values // 257)
    assert turned.shape == (60, 40, 3)
