"""Masks as files, run lengths and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from crwedge.core.errors import MaskError
from crwedge.core.masks import (
    check_mask,
    describe_mask,
    object_ids,
    palette,
    read_mask,
    resize_mask,
    small_objects,
    write_mask,
)  # fmt: skip
from crwedge.core.rle import decode_rle, encode_rle


def test_round_trip_as_palette_png(tmp_path: Path) -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_mask(tmp_path / "m.png", ids)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), ids)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.png"]


def test_palette_is_the_usual_one() -> None:
    assert palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 255], [0, 1]), ([255, 255], [1, 1]), ([0, 1], [0, 1]), ([1, 255], [1, 255]), ([0, 0], [0, 0])],
)
def test_grey_0_and_255_is_a_binary_mask(tmp_path: Path, values: list[int], expected: list[int]) -> None:
    Image.fromarray(np.array([values] * 2, np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png")[0].tolist() == expected


def test_a_palette_png_of_0_and_255_keeps_its_void(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.array([[0, 255]], np.uint8))
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 255]]


def test_one_bit_pictures_are_object_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1]]


def test_what_cannot_be_a_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="no mask file"):
        read_mask(tmp_path / "none.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(MaskError, match=r"colours, blended.*PNG"):
        read_mask(tmp_path / "rgb.png")
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(MaskError, match="id 300"):
        read_mask(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MaskError, match="cannot be read"):
        read_mask(tmp_path / "text.png")


def test_check_mask_names_the_cure() -> None:
    with pytest.raises(MaskError, match=r"4x5 .* 6x8.*--set resize-mask=true"):
        check_mask(np.ones((4, 5), np.uint8), (6, 8))
    for empty in (np.zeros((4, 5), np.uint8), np.full((4, 5), 255, np.uint8)):
        with pytest.raises(MaskError, match="empty"):
            check_mask(empty, (4, 5))
    with pytest.raises(MaskError, match="id 256"):
        check_mask(np.full((4, 5), 256), (4, 5))
    with pytest.raises(MaskError, match="whole numbers"):
        check_mask(np.ones((4, 5)), (4, 5))
    assert check_mask(np.ones((4, 5), np.int64), (4, 5)).dtype == np.uint8
    assert check_mask(np.ones((4, 5), np.bool_), (4, 5)).dtype == np.uint8


def test_ids_and_resize() -> None:
    mask = np.array([[0, 3], [255, 1]], np.uint8)
    assert object_ids(mask) == (1, 3)
    assert set(np.unique(resize_mask(mask, (7, 9)))) <= {0, 1, 3, 255}


def test_known_run_lengths() -> None:
    # Runs down the columns, zeros first: 0 zeros, 2 ones, 2 zeros, 1 one, 1 zero; the fourth count as 1 - 2.
    mask = np.array([[1, 0, 1], [1, 0, 0]], np.bool_)
    assert encode_rle(mask) == {"size": [2, 3], "counts": "022OO"}


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_round_trip(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def test_long_runs_round_trip() -> None:
    mask = np.zeros((480, 854), np.bool_)
    mask[100:300, 200:600] = True
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def block() -> np.ndarray:
    mask = np.zeros((60, 90), np.uint8)
    mask[15:45, 20:60] = 1
    return mask


def two_blocks() -> np.ndarray:
    mask = block()
    mask[48:58, 70:85] = 2
    return mask


def soft_disc() -> Image.Image:
    large = Image.new("L", (360, 240))
    ImageDraw.Draw(large).ellipse((80, 60, 240, 180), fill=255)
    return large.resize((90, 60), Image.Resampling.LANCZOS)


def test_soft_edges_are_cut_at_half_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soft_disc().save(tmp_path / "soft.png")
    found = read_mask(tmp_path / "soft.png")
    np.testing.assert_array_equal(found, np.asarray(soft_disc()) >= 128)
    assert "soft edges" in caplog.text


def test_a_jpeg_of_black_and_white_is_one_object(tmp_path: Path) -> None:
    picture = Image.fromarray(block() * np.uint8(255))
    picture.save(tmp_path / "m.jpg", quality=80)
    with Image.open(tmp_path / "m.jpg") as again:
        again.save(tmp_path / "again.png")
    for name in ("m.jpg", "again.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), block())
    Image.fromarray(block()).save(tmp_path / "ids.jpg", quality=90)
    with pytest.raises(MaskError, match="PNG"):
        read_mask(tmp_path / "ids.jpg")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_objects_and_black_is_the_background(tmp_path: Path, mode: str) -> None:
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)[two_blocks()]
    Image.fromarray(colours).convert(mode).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), two_blocks())
    # The usual palette keeps its ids.
    Image.fromarray(palette()[two_blocks() * 7]).convert(mode).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), two_blocks() * 7)


def test_what_is_transparent_is_the_background(tmp_path: Path) -> None:
    alpha = np.dstack([np.full((60, 90, 3), 180, np.uint8), block() * np.uint8(255)])
    Image.fromarray(alpha).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png") > 0, block() > 0)
    alpha[..., :3] = 0
    Image.fromarray(alpha).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block())


def test_a_palette_whose_black_is_not_its_first_entry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)[two_blocks()]
    for number, convert in enumerate((Image.Image.quantize, lambda i: i.convert("P", palette=1, colors=3))):
        convert(Image.fromarray(colours)).save(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(read_mask(tmp_path / f"{number}.png") > 0, two_blocks() > 0)
        assert "black" in caplog.text
    # The web palette dithers: specks of one red in another are no objects.
    Image.fromarray(colours).convert("P").save(tmp_path / "dithered.png")
    with pytest.raises(MaskError, match="dithered"):
        read_mask(tmp_path / "dithered.png")


def test_a_grey_palette_counts_by_its_values(tmp_path: Path) -> None:
    picture = Image.fromarray(block() * np.uint8(255))
    picture.putpalette([i for i in range(256) for _ in range(3)])
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block())


@pytest.mark.parametrize("white", [1, 255, 4095, 65535])
def test_sixteen_bit_black_and_white(tmp_path: Path, white: int) -> None:
    Image.fromarray(block().astype(np.uint16) * white).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block())


def test_photographs_and_gradients_are_no_masks(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (60, 1))
    noise = np.random.default_rng(1).integers(0, 256, (60, 90), np.uint8)
    for values in (ramp, noise):
        Image.fromarray(values).save(tmp_path / "m.png")
        with pytest.raises(MaskError, match="PNG"):
            read_mask(tmp_path / "m.png")


def test_a_damaged_header_is_one_line(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", block())
    data = bytearray((tmp_path / "m.png").read_bytes())
    data[11] = 5  # the length of IHDR, which Pillow reports as a ValueError
    (tmp_path / "m.png").write_bytes(bytes(data))
    with pytest.raises(MaskError, match="cannot be read") as error:
        read_mask(tmp_path / "m.png")
    assert "\n" not in error.value.args[0]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_masks_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.png"
    write_mask(path, two_blocks())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    said = ""
    try:
        read_mask(path)
    except MaskError as error:
        said = error.args[0]
    assert "\n" not in said


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_our_own_masks_come_back_to_the_pixel(tmp_path_factory: pytest.TempPathFactory, ids: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "own.png"
    write_mask(path, ids)
    np.testing.assert_array_equal(read_mask(path), ids)


def test_stacks_and_one_hot_arrays() -> None:
    ids = two_blocks()
    size = (60, 90)
    stack = np.stack([ids == 1, ids == 2])
    hot = np.stack([ids == 0, ids == 1, ids == 2])
    for mask in (
        stack,
        list(stack),
        stack.astype(np.uint8),
        hot,
        hot.astype(np.float32),
        hot.transpose(1, 2, 0),
        ids[None],
    ):
        np.testing.assert_array_equal(check_mask(mask, size), ids)
    over = np.stack([ids == 1, (ids == 2) | ((ids == 1) & (np.arange(90) < 30))])
    assert (check_mask(over, size) == 2).sum() == over[1].sum()
    with pytest.raises(MaskError, match="covered by later masks"):
        check_mask(np.stack([ids == 1, ids > 0]), size)
    with pytest.raises(MaskError, match="booleans"):
        check_mask(hot * 0.3, size)
    with pytest.raises(MaskError, match="one size"):
        check_mask([ids, ids[:4]], size)
    with pytest.raises(MaskError, match="read_mask"):
        check_mask("init.png", size)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("init.png", "not str; read_mask reads files"),
        ([np.zeros((4, 6)), np.zeros((4, 5))], r"of one size"),
        (np.full((4, 6), "dog"), "must be an array"),
        (np.zeros((2, 2, 4, 6), np.uint8), r"not \(2, 2, 4, 6\)"),
        (np.full((2, 4, 6), 0.4), "cut soft ones"),
        (np.zeros((256, 4, 6), bool), "holds 256 masks; at most 254"),
        (np.zeros((255, 4, 6), bool), "holds 255 masks; at most 254"),
    ],
)
def test_arrays_that_are_no_masks(given: Any, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        check_mask(given, (4, 6))


def test_a_painted_picture_with_the_channels_first_is_a_mask() -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[1:3, 2:4] = 200, 0, 0
    np.testing.assert_array_equal(check_mask(np.moveaxis(red, -1, 0), (4, 6)), red[..., 0] > 0)


def test_a_mask_is_described_with_what_a_grid_may_lose() -> None:
    assert describe_mask(two_blocks(), {2: "ball"}) == "2 objects: 1 (1,200 pixels), 2 ball (150 pixels)"
    assert small_objects(two_blocks(), (2, 3)) == (2,)
    assert small_objects(two_blocks(), (12, 18)) == ()
    assert "too small for cells of 30x30 pixels: 2" in describe_mask(two_blocks(), grid=(2, 3))


@pytest.mark.parametrize("name", ["m.webp", "m.avif"])
def test_black_and_white_through_a_lossy_picture_is_one_object(tmp_path: Path, name: str) -> None:
    truth = np.zeros((96, 160), np.uint8)
    truth[30:60, 40:90] = 255
    Image.fromarray(truth).convert("RGB").save(tmp_path / name, quality=50)
    np.testing.assert_array_equal(read_mask(tmp_path / name), truth // 255)


def test_arrays_of_numpy_are_masks(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    arrays: list[NDArray[Any]] = [ids, ids.astype(np.int64), np.stack([ids == 1, ids == 2])]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{number}.npy"), ids)
    np.savez(tmp_path / "one.npz", mask=ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "one.npz"), ids)
    np.savez(tmp_path / "two.npz", a=ids, b=ids)
    with pytest.raises(MaskError, match=r"2 arrays \(a, b\)"):
        read_mask(tmp_path / "two.npz")
    np.save(tmp_path / "soft.npy", ids / 2)
    with pytest.raises(MaskError, match=r"soft\.npy.*> 0\.5"):
        read_mask(tmp_path / "soft.npy")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("objects.npy", "damaged.npz", "empty.npy"):
        with pytest.raises(MaskError, match="cannot be read as a NumPy array"):
            read_mask(tmp_path / name)
