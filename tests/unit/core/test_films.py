"""The reader of films: real containers, written here, with what cameras, editors and recorders do to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from crwedge.core.containers import is_cut_short
from crwedge.core.errors import SourceError
from crwedge.core.films import AnyFilm, open_film
from crwedge.core.upright import to_rgb
from tests.unit.conftest import write_video


def numbered(count: int) -> np.ndarray:
    """Frames (count, 48, 64, 3) that show their number as eight bright or dark columns."""
    frames = np.full((count, 48, 64, 3), 40, np.uint8)
    for number in range(count):
        for bit in range(8):
            if number >> bit & 1:
                frames[number, :, 8 * bit : 8 * bit + 8] = 210
    return frames


def number_of(picture: np.ndarray) -> int:
    columns = picture.astype(float).mean(axis=(0, 2)).reshape(8, 8).mean(axis=1)
    return sum(1 << bit for bit in range(8) if columns[bit] > 125)


def numbers(film: AnyFilm, start: float = 0.0) -> Iterator[int]:
    for _, picture in film.timed(start):
        yield number_of(to_rgb(picture))


def remuxed(source: Path, path: Path, change: Callable[[av.Packet], bool] | None = None, **more: object) -> Path:
    """Packets of a film in another file."""
    with av.open(str(source)) as read, av.open(str(path), "w", **more) as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None and (change is None or change(packet)):
                packet.stream = stream
                write.mux(packet)
    return path


def test_an_edit_list_hides_frames_and_is_no_damage(tmp_path: Path) -> None:
    frames = numbered(30)
    whole = write_video(tmp_path / "whole.mp4", frames, gop=30)

    def later(packet: av.Packet) -> bool:
        shift = int(2 / packet.time_base)
        packet.pts -= shift
        packet.dts -= shift
        return True

    cut = remuxed(whole, tmp_path / "cut.mp4", later, options={"avoid_negative_ts": "disabled"})
    with open_film(cut) as film:
        assert film.promised == 30
        assert list(numbers(film)) == list(range(20, 30))


def test_repeat_frames_of_avi_are_no_damage(tmp_path: Path) -> None:
    frames = numbered(10)
    path = write_video(tmp_path / "a.avi", frames, times=[0, 1, 2, 3, 6, 7, 8, 9, 10, 11])
    with open_film(path) as film:
        assert film.promised == 12
        assert [round(seconds * 10) for seconds, _ in film.timed()] == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mov"])
def test_a_file_that_breaks_off_is_told_from_a_header_that_promises_too_much(tmp_path: Path, name: str) -> None:
    options = {"movflags": "faststart"} if name.endswith(("mp4", "mov")) else {}
    path = write_video(tmp_path / name, np.concatenate([numbered(40)] * 3), options=options)
    assert not is_cut_short(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert is_cut_short(path)
    seen = 0
    with open_film(path) as film, pytest.raises(SourceError, match=r"cut short after \d+ frames"):
        for _ in film.pictures():
            seen += 1
    assert 20 < seen < 120


def test_a_container_of_unknown_length_is_not_called_cut(tmp_path: Path) -> None:
    # A recording that is piped writes no length: the segment of Matroska says "not known".
    path = write_video(tmp_path / "a.mkv", numbered(20))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    assert data[at] == 1  # eight bytes
    data[at : at + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data[: len(data) * 2 // 3])
    assert not is_cut_short(path)
    # The last box of mp4 may reach "to the end of the file".
    path = write_video(tmp_path / "a.mp4", numbered(20), options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data[:-100])
    assert not is_cut_short(path)


def test_a_box_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(20), options={"movflags": "faststart"})
    data = path.read_bytes()
    at = data.index(b"mdat") - 4
    # The same box with its length in 64 bits, as large films have it.
    length = int.from_bytes(data[at : at + 4], "big") + 8
    long = data[:at] + (1).to_bytes(4, "big") + b"mdat" + length.to_bytes(8, "big") + data[at + 8 :]
    path.write_bytes(long)
    assert not is_cut_short(path)
    path.write_bytes(long[:-1])
    assert is_cut_short(path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00\x00", b"\0\0\0\0ftyp"])
def test_a_few_bytes_tell_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mkv").write_bytes(content)
    assert not is_cut_short(tmp_path / "a.mkv")
    assert not is_cut_short(tmp_path / "missing.mkv")


@pytest.mark.parametrize("gop", [10, 250])
@pytest.mark.parametrize(("name", "codec", "form"), [
    ("a.mp4", "libx264", None), ("a.ts", "libx264", "mpegts"), ("a.mpg", "mpeg2video", "mpeg"), ("a.mkv", "libx264", None),
])  # fmt: skip
def test_seeking_covers_the_wanted_time(tmp_path: Path, name: str, codec: str, form: str | None, gop: int) -> None:
    frames = numbered(58)
    path = write_video(tmp_path / name, frames, codec=codec, fps=25, form=form, gop=gop)
    for start in (0.0, 0.7, 1.0, 1.9, 2.24):
        with open_film(path) as film:
            list(zip(range(5), film.pictures(), strict=False))
            due = list(numbers(film, start))
        assert due[0] <= start * 25 + 1e-6
        assert due == list(range(due[0], 58))


def test_two_iterations_at_once_are_refused(tmp_path: Path) -> None:
    with open_film(write_video(tmp_path / "a.mp4", numbered(20))) as film:
        first = film.pictures()
        next(first)
        next(film.pictures())
        with pytest.raises(RuntimeError, match="one iteration"):
            list(first)


def turned(path: Path, frames: np.ndarray, degrees: int, mirror: bool) -> Path:
    """A film whose container says how it is to be shown."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        if mirror:
            one = 1 << 16
            stream.set_display_matrix([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
        else:
            stream.set_display_rotation(degrees)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV writes no display matrix")
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_films_are_turned_upright(tmp_path: Path, degrees: int) -> None:
    frames = numbered(3)
    frames[:, :10, :12] = (20, 20, 240)
    with open_film(turned(tmp_path / "a.mp4", frames, degrees, False)) as film:
        pictures = list(film.pictures())
        quarter = round(pictures[0].rotation / 90) % 4
        found = to_rgb(pictures[1])
        assert np.abs(found.astype(int) - np.rot90(frames[1], quarter)).mean() < 8
        # Shrunk for training it is the same way up.
        assert to_rgb(pictures[1], 24).shape[:2] == tuple(side // 2 for side in found.shape[:2])


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_matrix"), reason="this PyAV writes no display matrix")
def test_films_of_a_front_camera_are_mirrored(tmp_path: Path) -> None:
    frames = numbered(3)
    frames[:, :10, :12] = (20, 20, 240)
    with open_film(turned(tmp_path / "a.mp4", frames, 0, True)) as film:
        found = to_rgb(next(film.pictures()))
    assert np.abs(found.astype(int) - frames[0][:, ::-1]).mean() < 8


def test_one_of_several_streams_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=10) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for stream, grey in zip(streams, (40, 200), strict=True):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    for number, grey in enumerate((40, 200)):
        with open_film(path, stream=number) as film:
            assert film.streams == 2
            assert abs(float(to_rgb(next(film.pictures())).mean()) - grey) < 5
    with pytest.raises(SourceError, match="has 2 video streams"):
        open_film(path, stream=2)


def test_damaged_packets_end_a_film_or_are_passed_over_and_counted(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for frame in numbered(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(whole)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(whole.read_bytes())
    for at, size in places[10:12]:
        # The first bytes are the block's own header.
        data[at + 12 : at + size] = np.random.default_rng(0).bytes(size - 12)
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(bytes(data))
    with open_film(damaged) as film, pytest.raises(SourceError, match=r"damaged after \d+ frames.*skip-damaged=true"):
        list(film.pictures())
    with open_film(damaged, skip_damaged=True) as film:
        assert len(list(film.pictures())) == 28
        assert film.damaged == 2


def test_stamps_that_are_missing_or_fall_never_go_back(tmp_path: Path) -> None:
    frames = numbered(12)
    raw = write_video(tmp_path / "a.h264", frames, codec="libx264", form="h264", gop=4)
    with open_film(raw) as film:
        times = [seconds for seconds, _ in film.timed()]
    assert len(times) == 12
    assert (np.diff(times) >= 0).all()
    assert times[-1] > 0.3


@pytest.mark.parametrize("rate", [Fraction(1, 3600), Fraction(1, 7), Fraction(1000)])
def test_any_rate(tmp_path: Path, rate: Fraction) -> None:
    frames = numbered(4)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = round(1000 * number / rate), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with open_film(path) as film:
        assert [seconds for seconds, _ in film.timed()] == pytest.approx([float(n / rate) for n in range(4)], abs=1e-3)
    with open_film(path) as film:
        assert list(numbers(film, float(2 / rate)))[-2:] == [2, 3]


def test_pictures_before_the_end_of_a_cut_film_have_times_and_are_counted(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    whole = write_video(tmp_path / "a.mp4", numbered(58), codec="libx264", fps=25, gop=3, options=options)
    data = whole.read_bytes()
    # Within pictures: FFmpeg does not open a short file that ends within the header of a fragment.
    ends = [found.end() for found in re.finditer(b"mdat", data)]
    for end in ends[-12:-2:3]:
        whole.write_bytes(data[: end + 20])
        times = []
        with open_film(whole) as film, pytest.raises(SourceError) as error:
            for picture in film.pictures():
                times.append(picture.time)
        assert (np.diff(times) > 0).all()
        assert f"after {len(times)} frames" in str(error.value)


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.gif", "a.avif"])
def test_animated_pictures_have_the_times_that_they_say(tmp_path: Path, name: str) -> None:
    images = [Image.fromarray(frame) for frame in numbered(4)]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=[100, 200, 300, 400])
    with open_film(tmp_path / name) as film:
        assert [seconds for seconds, _ in film.timed()] == pytest.approx([0, 0.1, 0.3, 0.6], abs=1e-3)


@pytest.mark.parametrize("name", ["film", "film.mp4"])
def test_an_animated_picture_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    images = [Image.fromarray(frame) for frame in numbered(3)]
    images[0].save(tmp_path / name, "WEBP", save_all=True, append_images=images[1:], lossless=True)
    with open_film(tmp_path / name) as film:
        assert [number_of(to_rgb(picture)) for picture in film.pictures()] == [0, 1, 2]


def test_what_is_no_film_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SourceError, match="it is empty"):
        open_film(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceError, match="not a film that FFmpeg can read"):
        open_film(tmp_path / "text.mp4")


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tiff", "a.gif"])
def test_animated_pictures_are_films(tmp_path: Path, name: str) -> None:
    frames = numbered(5)
    images = [Image.fromarray(frame) for frame in frames]
    more: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=200, **more)
    with open_film(tmp_path / name) as film:
        found = [number_of(to_rgb(picture)) for picture in film.pictures()]
    assert found == list(range(5))


def test_pixels_stay_as_they_are_stored_and_their_aspect_is_known(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(3), aspect=Fraction(4, 3))
    with open_film(path) as film:
        assert film.pixel_aspect == Fraction(4, 3)
        assert to_rgb(next(film.pictures())).shape == (48, 64, 3)


def test_covers_of_sound_files_are_no_films(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")))
        container.mux(cover.encode(None))
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
        wave.sample_rate = 44100
        container.mux(sound.encode(wave))
        container.mux(sound.encode(None))
    with pytest.raises(SourceError, match="only sound"):
        open_film(path)
