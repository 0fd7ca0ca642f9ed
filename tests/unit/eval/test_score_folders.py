"""Folders of results: what is scored, and what is refused with the file's name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.masks import write_mask
from crwedge.eval.datasets import davis_clips, mask_folders
from crwedge.eval.score_folders import read_ids, score_folders


def mask_of(value: int = 1) -> np.ndarray:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 5:20] = value
    return mask


def write_tree(root: Path, names: tuple[str, ...] = ("a", "b"), frames: int = 4) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(frames):
            write_mask(root / name / f"{number:05d}.png", mask_of())
    return root


def test_perfect_masks(tmp_path: Path) -> None:
    truth, predicted = write_tree(tmp_path / "truth"), write_tree(tmp_path / "predicted")
    score = score_folders(predicted, truth)
    assert not score.partial
    values = score.to_dict()
    assert values["JF"] == values["J"]["recall"] == 1.0
    assert values["protocol"]["partial"] is False
    assert list(values["sequences"]) == ["a", "b"]


def test_single_folders(tmp_path: Path) -> None:
    truth, predicted = write_tree(tmp_path / "truth"), write_tree(tmp_path / "predicted")
    score = score_folders(predicted / "a", truth / "b")
    assert list(score.sequences) == ["b"]
    with pytest.raises(MaskError, match="single sequence"):
        score_folders(predicted / "a", truth)


def test_partial_results_only_on_demand(tmp_path: Path) -> None:
    truth, predicted = write_tree(tmp_path / "truth", ("a", "b", "c")), write_tree(tmp_path / "predicted")
    with pytest.raises(MaskError, match=r"sequence c .*--partial"):
        score_folders(predicted, truth)
    (predicted / "a" / "00002.png").unlink()
    with pytest.raises(MaskError, match=r"a/00002\.png is missing"):
        score_folders(predicted, truth, sequences=["a", "b"])
    score = score_folders(predicted, truth, partial=True)
    assert score.partial
    assert score.missing_sequences == ("c",)
    assert score.missing_frames == 1
    assert score.sequences["a"].scored == 1
    assert score.to_dict()["protocol"]["missing"] == {"sequences": ["c"], "frames": 1}
    with pytest.raises(MaskError, match="no masks"):
        score_folders(predicted, truth, partial=True, sequences=["c"])


def damage_colour(path: Path) -> None:
    Image.new("RGB", (30, 20), (128, 0, 0)).save(path)


def damage_grey(path: Path) -> None:
    Image.fromarray(mask_of(37)).save(path)


def damage_grey_one(path: Path) -> None:
    Image.fromarray(mask_of(1)).save(path)


def damage_void(path: Path) -> None:
    write_mask(path, mask_of(255))


def damage_deep(path: Path) -> None:
    Image.fromarray(mask_of(1).astype(np.uint16) * 300).save(path)


def damage_size(path: Path) -> None:
    write_mask(path, mask_of()[:, :-1])


def damage_format(path: Path) -> None:
    Image.fromarray(mask_of(255)).save(path, format="JPEG")


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_colour, "colour"),
        (damage_grey, "value 37"),
        (damage_grey_one, "value 1"),
        (damage_void, "255"),
        (damage_deep, "300"),
        (damage_size, "20x29"),
        (damage_format, "JPEG"),
        (damage_bytes, "cannot be read"),
    ],
)
def test_bad_masks_are_refused_by_name(tmp_path: Path, damage: object, words: str) -> None:
    truth, predicted = write_tree(tmp_path / "truth"), write_tree(tmp_path / "predicted")
    damage(predicted / "b" / "00001.png")  # type: ignore[operator]
    with pytest.raises(MaskError, match=r"b/00001\.png") as caught:
        score_folders(predicted, truth)
    assert words in str(caught.value)


def test_binary_grey_is_object_one(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for mask in (mask_of(255), np.full((20, 30), 255, np.uint8), np.zeros((20, 30), np.uint8)):
        Image.fromarray(mask).save(path)
        np.testing.assert_array_equal(read_ids(path, void=False), mask == 255)


def test_davis_tree(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "JPEGImages" / "480p" / name).mkdir(parents=True)
        (tmp_path / "Annotations" / "480p" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "480p" / name / f"{number:05d}.jpg")
            write_mask(tmp_path / "Annotations" / "480p" / name / f"{number:05d}.png", mask_of())
    with pytest.raises(SourceError, match=r"2017.val\.txt is missing"):
        davis_clips(tmp_path)
    for year, text in (
        ("2017", "dog\ncat\n"),
        ("480p", "/JPEGImages/480p/cat/00000.jpg /Annotations/480p/cat/0.png\n"),
    ):
        (tmp_path / "ImageSets" / year).mkdir(parents=True)
        (tmp_path / "ImageSets" / year / "val.txt").write_text(text)
    assert [clip.name for clip in davis_clips(tmp_path)] == ["dog", "cat"]
    assert [clip.name for clip in davis_clips(tmp_path, "2016")] == ["cat"]
    assert [len(clip.frames) for clip in davis_clips(tmp_path, "2017", ["cat"])] == [3]
    assert set(mask_folders(tmp_path)) == {"cat", "dog"}
    with pytest.raises(SourceError, match="bird is missing"):
        davis_clips(tmp_path, "2017", ["bird"])
    (tmp_path / "Annotations" / "480p" / "dog" / "00001.png").unlink()
    with pytest.raises(SourceError, match=r"dog/00001\.png is missing"):
        davis_clips(tmp_path)


def test_bad_trees_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder"):
        davis_clips(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="not a DAVIS tree"):
        davis_clips(tmp_path)
    with pytest.raises(SourceError, match="no masks"):
        mask_folders(tmp_path)
    with pytest.raises(SourceError, match="no folder"):
        mask_folders(tmp_path / "nowhere")
    (tmp_path / "a" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(SourceError, match="no frames"):
        davis_clips(tmp_path)


@pytest.mark.data
def test_official_folder(data: Path) -> None:
    names = ["blackswan", "car-shadow"]
    score = score_folders(data / "official-scores" / "masks", data / "vos", sequences=names)
    official = json.loads((data / "official-scores" / "davis2016.json").read_text())
    for name in names:
        assert score.sequences[name].mean("J").mean == pytest.approx(official[name]["J"]["mean"][0], abs=1e-9)
        assert score.sequences[name].mean("F").decay == pytest.approx(official[name]["F"]["decay"][0], abs=1e-9)


def test_predictions_without_truth_are_told(tmp_path: Path) -> None:
    truth, predicted = write_tree(tmp_path / "truth", ("a",)), write_tree(tmp_path / "predicted", ("a", "b"), frames=6)
    score = score_folders(predicted, truth)
    assert score.extra == {"a": ("00004.png", "00005.png")}
    assert score.extra_sequences == ("b",)
    assert score.to_dict()["protocol"]["without_truth"]["frames"] == {"a": ["00004.png", "00005.png"]}
    assert any("00004.png" in note for note in score.notes())


def test_names_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    # Frames from 1 on, masks numbered from 0: also --partial would compare masks of other frames.
    truth, predicted = write_tree(tmp_path / "truth", ("a",)), write_tree(tmp_path / "predicted", ("a",))
    for number in range(4, 0, -1):
        (truth / "a" / f"{number - 1:05d}.png").rename(truth / "a" / f"{number:05d}.png")
    for partial in (False, True):
        with pytest.raises(MaskError, match=r"00000\.png has no true mask, and 00004\.png has no prediction"):
            score_folders(predicted, truth, partial=partial)


def test_partial_says_what_was_left_out(tmp_path: Path) -> None:
    truth, predicted = write_tree(tmp_path / "truth"), write_tree(tmp_path / "predicted")
    (predicted / "b" / "00001.png").unlink()
    score = score_folders(predicted, truth, partial=True)
    assert score.left_out == {"b": ("00001.png",)}
    assert score.to_dict()["protocol"]["left_out"] == {"b": ["00001.png"]}
    assert score.notes() == ["b: 1 frames without a prediction are skipped: 00001.png"]


def test_unpadded_numbers_are_in_natural_order(tmp_path: Path) -> None:
    """The objects are those of the first frame, and the last one is not scored: both hang on the order."""
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "seq" / folder).mkdir(parents=True)
    for number in range(1, 13):
        Image.new("RGB", (30, 20)).save(tmp_path / "seq" / "JPEGImages" / f"{number}.png")
        write_mask(tmp_path / "seq" / "Annotations" / f"{number}.png", mask_of(1 + (number > 1)))
        write_mask(tmp_path / "seq" / "Annotations" / f"._{number}.png", mask_of())
    (clip,) = davis_clips(tmp_path)
    expected = [str(number) for number in range(1, 13)]
    assert [path.stem for path in clip.frames] == expected
    assert [path.stem for path in clip.masks] == expected
    masks = tmp_path / "seq" / "Annotations"
    for path in masks.glob("._*"):
        path.unlink()
    assert score_folders(masks, masks).sequences["seq"].objects[0].object_id == 1


def test_frames_beside_their_masks_are_refused(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "seq" / folder).mkdir(parents=True)
    for suffix in ("jpg", "png"):
        Image.new("RGB", (30, 20)).save(tmp_path / "seq" / "JPEGImages" / f"0.{suffix}")
    with pytest.raises(SourceError, match=r"0\.jpg and 0\.png"):
        davis_clips(tmp_path)
