"""Every format gives back the masks, ids, names and frame numbers that it was given."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from crwedge.cli import run
from crwedge.core.masks import write_mask
from crwedge.formats.annotation import AnnotatedFrame, Annotation
from crwedge.formats.open import FORMATS, open_annotation, write_annotation
from tests.unit.formats.masks import annotated_films, of_frames

NAMELESS = ("davis",)


def assert_same(found: Annotation, wanted: Annotation, names: bool = True) -> None:
    a, b = list(found.frames()), list(wanted.frames())
    assert [(f.number, f.stem) for f in a] == [(f.number, f.stem) for f in b]
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
    assert found.size == wanted.size
    if names:
        shown = {int(i) for frame in b for i in np.unique(frame.ids)}
        assert dict(found.names) == {i: name for i, name in wanted.names.items() if i in shown}


@pytest.mark.parametrize("form", FORMATS)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(annotation=annotated_films())
def test_every_format_gives_back_what_it_got(form: str, annotation: Annotation, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    write_annotation(annotation, target, form, overwrite=True)
    with open_annotation(target) as found:
        assert_same(found, annotation, form not in NAMELESS)


@pytest.mark.parametrize("form", FORMATS)
def test_files_and_folders_hold_the_same_as_a_zip(form: str, tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint8)
    ids[4:9, 5:20] = 3
    frames = [AnnotatedFrame(n, np.roll(ids, n, axis=1), f"img_{n}") for n in range(3)]
    annotation = of_frames(frames, {3: "a <b> & \"c\" 'd'"})
    target = tmp_path / (f"out{FORMATS[form].suffix}" if FORMATS[form].single else "out")
    assert write_annotation(annotation, target, form) == 3
    with open_annotation(target) as found:
        assert_same(found, annotation, form not in NAMELESS)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("form", ["davis", "youtube-vos"])
def test_void_is_kept_where_it_can_be(form: str, tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255, 255]] * 4, np.uint8)
    write_annotation(of_frames([AnnotatedFrame(0, ids)]), tmp_path / "x", form)
    with open_annotation(tmp_path / "x") as found:
        np.testing.assert_array_equal(next(found.frames()).ids, ids)


@pytest.mark.parametrize("form", ["cvat", "cvat-images", "coco", "yolo"])
def test_void_that_is_lost_is_said(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = np.array([[0, 1, 255, 255]] * 4, np.uint8)
    write_annotation(of_frames([AnnotatedFrame(0, ids)]), tmp_path / "x.zip", form)
    assert "void" in caplog.text


@pytest.mark.data
@pytest.mark.parametrize("form", FORMATS)
def test_davis_goes_to_a_format_and_back(form: str, data: Path, tmp_path: Path) -> None:
    """The command line, on a real sequence of seven objects: DAVIS -> format -> DAVIS."""
    source = data / "vos" / "schoolgirls-240p" / "Annotations"
    tree = tmp_path / "tree" / "Annotations" / "480p" / "girls"
    tree.mkdir(parents=True)
    for path in sorted(source.glob("*.png"))[::8]:
        (tree / path.name).write_bytes(path.read_bytes())
    middle, back = tmp_path / "middle.zip", tmp_path / "back"
    assert run(["convert", str(tmp_path / "tree"), str(middle), "--to", form, "--names", "2=anna"]) == 0
    assert run(["convert", str(middle), str(back), "--to", "davis"]) == 0
    with open_annotation(back) as found, open_annotation(tmp_path / "tree") as wanted:
        assert found.video.name == "girls"
        assert_same(found, wanted, names=False)
    names = sorted(p.name for p in back.rglob("*.png"))
    assert names == sorted(p.name for p in tree.iterdir())


def test_names_survive_a_chain_of_formats(tmp_path: Path) -> None:
    ids = np.zeros((12, 12), np.uint8)
    ids[2:5, 2:9], ids[7:10, 3:6] = 7, 200
    first = of_frames([AnnotatedFrame(5, ids), AnnotatedFrame(9, ids[::-1].copy())], {7: "dog", 200: "dog"})
    write_annotation(first, tmp_path / "0.zip", "cvat")
    for number, form in enumerate(("coco", "yolo", "cvat-images", "youtube-vos", "cvat-polygons")):
        with open_annotation(tmp_path / f"{number}.zip") as before:
            write_annotation(before, tmp_path / f"{number + 1}.zip", form)
    with open_annotation(tmp_path / "5.zip") as last:
        assert_same(last, first)


def test_an_object_that_leaves_is_outside_until_it_comes_back(tmp_path: Path) -> None:
    ids = np.zeros((8, 8), np.uint8)
    ids[2:4, 2:4] = 1
    frames = [AnnotatedFrame(n, ids if n in (1, 4) else np.zeros_like(ids)) for n in range(6)]
    write_annotation(of_frames(frames), tmp_path / "a.xml")
    text = (tmp_path / "a.xml").read_text()
    assert [line.split('"')[1] for line in text.splitlines() if 'outside="1"' in line] == ["2", "5"]
    with open_annotation(tmp_path / "a.xml") as found:
        assert_same(found, of_frames(frames))


def test_coco_is_complete(tmp_path: Path) -> None:
    ids = np.zeros((8, 10), np.uint8)
    ids[2:4, 3:6] = 9
    write_annotation(of_frames([AnnotatedFrame(2, ids)], {9: "cat"}), tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    (entry,), (image,) = data["annotations"], data["images"]
    assert (entry["bbox"], entry["area"], entry["iscrowd"], entry["track_id"]) == ([3, 2, 3, 2], 6, 0, 9)
    assert (image["file_name"], image["height"], image["width"], image["frame_id"]) == ("00002.jpg", 8, 10, 2)
    assert data["categories"] == [{"id": entry["category_id"], "name": "cat", "supercategory": ""}]


def test_a_result_that_stands_is_kept_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(3):
        write_mask(tmp_path / "masks" / f"{number:05d}.png", np.full((16, 16), 1, np.uint8))
    for target, more in (("a.zip", ["--to", "coco"]), ("tree", ["--to", "davis"]), ("y", ["--to", "yolo"])):
        command = ["convert", str(tmp_path / "masks"), str(tmp_path / target), *more]
        assert run(command) == 0
        capsys.readouterr()
        assert run(command) == 2
        assert "--overwrite" in capsys.readouterr().err
        assert run([*command, "--overwrite"]) == 0
    # Files of other people stay; labels of an earlier run do not.
    (tmp_path / "y" / "images").mkdir()
    (tmp_path / "masks" / "00002.png").unlink()
    assert run(["convert", str(tmp_path / "masks"), str(tmp_path / "y"), "--to", "yolo", "--overwrite"]) == 0
    assert (tmp_path / "y" / "images").is_dir()
    assert len(list((tmp_path / "y" / "labels").iterdir())) == 2


def test_zips_have_plain_members(tmp_path: Path) -> None:
    frame = AnnotatedFrame(0, np.ones((4, 4), np.uint8))
    write_annotation(replace(of_frames([frame])), tmp_path / "a.zip", "cvat")
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["annotations.xml"]
