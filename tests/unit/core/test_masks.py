"""Masks as files, run lengths and checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from crwedge.core.errors import MaskError
from crwedge.core.masks import (
    check_mask,
    decode_rle,
    encode_rle,
    object_ids,
    palette,
    read_mask,
    resize_mask,
    write_mask,
)  # fmt: skip


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
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(MaskError, match="colour picture"):
        read_mask(tmp_path / "rgb.png")
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(MaskError, match="id 300"):
        read_mask(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MaskError, match="cannot be read"):
        read_mask(tmp_path / "text.png")


def test_check_mask_names_the_cure() -> None:
    with pytest.raises(MaskError, match=r"4x5 .* 6x8.*--resize-mask"):
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
