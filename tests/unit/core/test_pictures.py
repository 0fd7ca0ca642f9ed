"""The reader of pictures: every depth and mode, in natural order, one line for what is wrong."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crwedge.core.errors import SourceError
from crwedge.core.location import natural_key, read_lines, walk_folders
from crwedge.core.pictures import PictureSequence, is_animated, list_pictures, read_picture

COLOUR = np.random.default_rng(0).integers(60, 200, (24, 40, 3), np.uint8)
GREY = COLOUR.mean(axis=2).astype(np.uint8)
GREY3 = np.repeat(GREY[..., None], 3, axis=2)


def save(path: Path, image: Image.Image, **more: object) -> Path:
    image.save(path, **more)  # type: ignore[arg-type]
    return path


def error_of(picture: np.ndarray, truth: np.ndarray) -> float:
    assert picture.shape == truth.shape
    assert picture.dtype == np.uint8
    return float(np.abs(picture.astype(int) - truth).max())


@pytest.mark.parametrize("name", ["p.png", "p.bmp", "p.tif", "p.ppm", "p.webp", "p.tga", "p.qoi", "P.PNG"])
def test_what_is_stored_without_loss_is_read_to_the_pixel(tmp_path: Path, name: str) -> None:
    more = {"lossless": True} if name.endswith("webp") else {}
    assert error_of(read_picture(save(tmp_path / name, Image.fromarray(COLOUR), **more)), COLOUR) == 0


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["p.png", "p.tif"])
def test_sixteen_bit_grey_is_scaled_by_its_depth(tmp_path: Path, bits: int, name: str) -> None:
    white = 2**bits - 1
    values = np.round(GREY / 255 * white).astype(np.uint16)
    values[0, 0] = white
    path = save(tmp_path / name, Image.fromarray(values))
    truth = GREY3.copy()
    truth[0, 0] = 255
    assert error_of(read_picture(path), truth) <= 1


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_float_is_scaled(tmp_path: Path, white: float) -> None:
    values = (GREY / 255 * white).astype(np.float32)
    assert error_of(read_picture(save(tmp_path / "p.tif", Image.fromarray(values))), GREY3) <= 1


@pytest.mark.parametrize("values", [np.full((8, 8), -1, np.float32), np.full((8, 8), np.nan, np.float32)])
def test_values_that_are_no_brightness_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(SourceError, match=r"scale it first|\(NaN\)"):
        read_picture(save(tmp_path / "p.tif", Image.fromarray(values)))


def test_a_sequence_has_one_white(tmp_path: Path) -> None:
    """A dark frame of a 12 bit camera is dark, not stretched; one beyond what is known of the camera is refused."""
    paths = []
    for number, high in enumerate((300, 4000, 300, 300, 300, 300)):
        values = np.full((8, 8), high, np.uint16)
        paths.append(save(tmp_path / f"{number}.png", Image.fromarray(values)))
    sequence = PictureSequence(paths)
    assert sequence.read(1).max() == 249
    assert sequence.read(2).max() == 19
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(paths[2])
    with pytest.raises(SourceError, match="values up to 60000"):
        sequence.read(2)


def test_modes_of_pillow(tmp_path: Path) -> None:
    colour = Image.fromarray(COLOUR)
    alpha = np.dstack([COLOUR, np.full((24, 40), 255, np.uint8)])
    assert error_of(read_picture(save(tmp_path / "rgba.png", Image.fromarray(alpha))), COLOUR) == 0
    assert error_of(read_picture(save(tmp_path / "la.png", Image.fromarray(GREY).convert("LA"))), GREY3) == 0
    bits = Image.fromarray(GREY > 128)
    assert error_of(read_picture(save(tmp_path / "1.png", bits)), np.where(GREY3 > 128, 255, 0)) == 0
    few = colour.quantize(16)
    assert error_of(read_picture(save(tmp_path / "p.png", few)), np.asarray(few.convert("RGB"))) == 0
    flat = Image.new("RGB", (40, 24), (200, 90, 40))
    assert error_of(read_picture(save(tmp_path / "c.jpg", flat.convert("CMYK"), quality=95)), np.asarray(flat)) < 8


@pytest.mark.parametrize("name", ["p.png", "p.tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_of_cameras(tmp_path: Path, turn: int, name: str) -> None:
    exif = Image.Exif()
    exif[274] = turn
    upright = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1],
        5: COLOUR.transpose(1, 0, 2), 6: np.rot90(COLOUR, -1), 7: COLOUR[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(COLOUR),
    }[turn]  # fmt: skip
    assert error_of(read_picture(save(tmp_path / name, Image.fromarray(COLOUR), exif=exif)), upright) == 0


@pytest.mark.parametrize("name", ["p.webp", "p.png", "p.tiff"])
def test_several_pictures_in_one_file_are_a_film(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1].copy())]
    path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert is_animated(path)
    with pytest.raises(SourceError, match="animated"):
        read_picture(path)


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 10)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("size", [(9000, 9950), (60000, 60000)])
def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "p.png").write_bytes(claims(*size))
    with pytest.raises(SourceError, match="million pixels"):
        read_picture(tmp_path / "p.png")


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_mutated_pictures_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(["png", "jpg", "tif", "webp", "bmp", "ppm", "tga", "jp2", "qoi"]))
    path = tmp_path_factory.getbasetemp() / f"mutated.{suffix}"
    Image.fromarray(COLOUR).save(path)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers are what readers trust.
        whole[data.draw(st.integers(0, min(len(whole), 200) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    said = ""
    try:
        read_picture(path)
    except SourceError as error:
        said = error.args[0]
    assert "\n" not in said


def test_folders_are_read_in_natural_order_without_what_systems_leave(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "1.PNG", "._1.png", ".hidden.png", "x2y10.png", "x2y9.png"):
        save(tmp_path / name, Image.fromarray(COLOUR), format="PNG")
    (tmp_path / "Thumbs.db").touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["1.PNG", "9.png", "10.png", "x2y9.png", "x2y10.png"]
    save(tmp_path / "9.jpg", Image.fromarray(COLOUR))
    with pytest.raises(SourceError, match=r"9\.jpg and 9\.png"):
        list_pictures(tmp_path)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=30), st.text("ab_", max_size=3))
def test_natural_order_is_that_of_the_numbers(numbers: list[int], prefix: str) -> None:
    names = sorted((f"{prefix}{number}.png" for number in numbers), key=natural_key)
    assert names == [f"{prefix}{number}.png" for number in sorted(numbers)]


def test_each_folder_is_walked_once(tmp_path: Path) -> None:
    for name in ("b/c", ".git", "__MACOSX", "a10", "a9"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "up").symlink_to("..")
    (tmp_path / "b" / "c" / "top").symlink_to(tmp_path)
    (tmp_path / "b" / "x.png").touch()
    found = [(folder.relative_to(tmp_path).as_posix(), len(files)) for folder, files in walk_folders(tmp_path)]
    assert found == [(".", 0), ("a9", 0), ("a10", 0), ("b", 1), ("b/c", 0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "l.txt").write_bytes("naïve/日.mp4\r\n b \r\n".encode(encoding))
    assert read_lines(tmp_path / "l.txt") == ["naïve/日.mp4", "b"]


def test_folders_pipes_and_devices_are_no_frames_but_a_lost_link_is_told_of(tmp_path: Path) -> None:
    save(tmp_path / "1.png", Image.new("RGB", (16, 16)))
    (tmp_path / "2.png").mkdir()
    os.mkfifo(tmp_path / "3.png")
    assert [path.name for path in list_pictures(tmp_path)] == ["1.png"]
    (tmp_path / "4.png").symlink_to(tmp_path / "gone.png")
    assert [path.name for path in list_pictures(tmp_path)] == ["1.png", "4.png"]


@pytest.mark.parametrize(("data", "why"), [(b"", "it is empty"), (b"<html>", "kind is not known here.*PNG")])
def test_files_that_are_no_pictures_say_why(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(SourceError, match=why):
        read_picture(tmp_path / "a.jpg")


def test_pixels_that_are_no_number_are_named(tmp_path: Path) -> None:
    values = np.zeros((16, 16), np.float32)
    values[3, 4] = np.nan
    with pytest.raises(SourceError, match="NaN"):
        read_picture(save(tmp_path / "a.tif", Image.fromarray(values)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_whose_zero_is_white(tmp_path: Path, dtype: type) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    # Pillow writes 8 bit as they look and 16 bit as they are.
    stored = grey if dtype is np.uint8 else (255 - grey).astype(np.uint16) * 257
    Image.fromarray(stored).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif")[..., 0], grey)
