"""Files as other tools write them, and files that are refused in one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crwedge.core.errors import MaskError, UserError
from crwedge.core.masks import write_mask
from crwedge.formats.annotation import FormatError
from crwedge.formats.open import open_annotation
from crwedge.formats.prompt import AnnotatedMask, parse_names, read_prompt

META = """<meta><task><name>street.mp4</name><size>6</size><mode>interpolation</mode><start_frame>0</start_frame>
<stop_frame>5</stop_frame><frame_filter></frame_filter><labels><label><name>car</name></label></labels>
<original_size><width>12</width><height>8</height></original_size></task></meta>"""


def cvat(body: str, meta: str = META) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{body}</annotations>'


def mask(frame: int, runs: str = "0, 4", box: tuple[int, int, int, int] = (1, 2, 2, 2), outside: int = 0) -> str:
    left, top, width, height = box
    where = f'left="{left}" top="{top}" width="{width}" height="{height}"'
    return (
        f'<mask frame="{frame}" keyframe="1" outside="{outside}" occluded="0" rle="{runs}" {where} z_order="0"></mask>'
    )


def picture(number: int, shapes: str, width: int = 12) -> str:
    return f'<image id="{number}" name="a/f_{number}.png" width="{width}" height="8">{shapes}</image>'


def mask_of(track: str | None, left: int = 1) -> str:
    named = "" if track is None else f'<attribute name="track_id">{track}</attribute>'
    box = f'left="{left}" top="2" width="2" height="2"'
    return f'<mask label="car" source="manual" occluded="0" rle="0, 4" {box} z_order="0">{named}</mask>'


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def ids_of(path: Path) -> dict[int, np.ndarray]:
    with open_annotation(path) as annotation:
        return {frame.number: frame.ids for frame in annotation.frames()}


def test_a_cvat_track_holds_its_shape_until_it_is_outside(tmp_path: Path) -> None:
    body = f'<track id="0" label="car" source="manual">{mask(1)}{mask(4, outside=1)}</track>'
    found = ids_of(write(tmp_path / "a.xml", cvat(body)))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    # CVAT counts tracks from 0, ids begin with 1.
    assert [int(ids.max()) for ids in found.values()] == [0, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal(np.argwhere(found[1])[[0, -1]], [[2, 1], [3, 2]])


def test_cvat_runs_go_along_the_rows_of_the_box(tmp_path: Path) -> None:
    body = f'<track id="3" label="car">{mask(0, "1, 2, 3", (4, 1, 3, 2))}</track>'
    found = ids_of(write(tmp_path / "a.xml", cvat(body)))
    assert [tuple(p) for p in np.argwhere(found[0] == 3).tolist()] == [(1, 5), (1, 6)]


def test_cvat_polygons_are_held_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    square = '<polygon frame="{}" keyframe="1" outside="0" points="1.00,1.00;5.00,1.00;5.00,4.00;1.00,4.00"></polygon>'
    body = f'<track id="1" label="car">{square.format(0)}{square.format(3)}</track>'
    found = ids_of(write(tmp_path / "a.xml", cvat(body)))
    assert int((found[2] == 1).sum()) == 12
    assert "2 frames between keyframes repeat the last polygon" in caplog.text


def test_cvat_images_are_followed_by_their_track_ids(tmp_path: Path) -> None:
    """Frames come in the order of their ids; Datumaro writes whole numbers with a point."""
    body = picture(4, mask_of("7.0") + mask_of("2", 5)) + picture(1, mask_of("2")) + picture(2, "")
    with open_annotation(write(tmp_path / "a.xml", cvat(body))) as annotation:
        assert (annotation.size, dict(annotation.names)) == ((8, 12), {2: "car", 7: "car"})
        found = {frame.stem: frame.ids for frame in annotation.frames()}
    assert {name: sorted(np.unique(ids)) for name, ids in found.items()} == {
        "f_1": [0, 2],
        "f_2": [0],
        "f_4": [0, 2, 7],
    }
    np.testing.assert_array_equal(np.argwhere(found["f_4"] == 7)[[0, -1]], [[2, 1], [3, 2]])


def test_one_cvat_image_without_track_ids_is_a_prompt(tmp_path: Path) -> None:
    polygon = (
        '<polygon label="dog" occluded="0" points="5.00,1.00;9.00,1.00;9.00,4.00;5.00,4.00" z_order="0"></polygon>'
    )
    given = read_prompt(write(tmp_path / "a.xml", cvat(picture(0, "") + picture(3, mask_of(None) + polygon))))
    assert isinstance(given, AnnotatedMask)
    assert (given.frame, dict(given.names)) == (3, {1: "car", 2: "dog"})
    assert [int((given.mask == i).sum()) for i in (1, 2)] == [4, 12]


def test_the_first_annotated_frame_is_a_prompt_with_names(tmp_path: Path) -> None:
    body = f'<track id="0" label="car">{mask(2)}{mask(5, outside=1)}</track>'
    given = read_prompt(write(tmp_path / "a.xml", cvat(body)))
    assert isinstance(given, AnnotatedMask)
    assert (given.frame, dict(given.names), int((given.mask == 1).sum())) == (2, {1: "car"}, 4)
    later = read_prompt(tmp_path / "a.xml", 4)
    assert isinstance(later, AnnotatedMask)
    assert later.frame == 4
    with pytest.raises(MaskError, match="no object in frame 5: leave --start out"):
        read_prompt(tmp_path / "a.xml", 5)


def coco(**changes: Any) -> dict[str, Any]:
    images = [{"id": 7, "file_name": "a/frame_10.png", "height": 8, "width": 12}]
    images.append({"id": 8, "file_name": "a/frame_9.png", "height": 8, "width": 12})
    entry = {"id": 1, "image_id": 7, "category_id": 2, "iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}
    return {"images": images, "annotations": [entry], "categories": [{"id": 2, "name": "dog"}], **changes}


def test_coco_polygons_runs_and_order(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = []
    for image, track in ((7, 5), (8, 5), (8, 6)):
        entries.append({"id": len(entries), "image_id": image, "category_id": 2, "attributes": {"track_id": track}})
    entries[0]["segmentation"] = [[1, 1, 5, 1, 5, 4, 1, 4]]
    entries[1]["segmentation"] = {"size": [8, 12], "counts": [8, 2, 86]}
    entries[2]["segmentation"] = {"size": [8, 12], "counts": [16, 3, 77]}
    found = ids_of(write(tmp_path / "a.json", json.dumps(coco(annotations=entries))))
    # Natural order of the names: frame_9 comes first.
    assert [sorted(np.unique(ids)) for ids in found.values()] == [[0, 5, 6], [0, 5]]
    assert [tuple(p) for p in np.argwhere(found[0] == 5).tolist()] == [(0, 1), (1, 1)]
    assert int((found[1] == 5).sum()) == 12


def test_coco_without_track_ids_is_a_prompt_but_no_track(tmp_path: Path) -> None:
    given = read_prompt(write(tmp_path / "a.json", json.dumps(coco())))
    assert isinstance(given, AnnotatedMask)
    assert dict(given.names) == {1: "dog"}
    entries = [{**coco()["annotations"][0], "id": n, "image_id": n} for n in (7, 8)]
    with pytest.raises(FormatError, match="no track_id, and objects in 2 images"):
        ids_of(write(tmp_path / "b.json", json.dumps(coco(annotations=entries))))


def test_overlaps_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [{**coco()["annotations"][0], "id": n, "track_id": n} for n in (1, 2)]
    found = ids_of(write(tmp_path / "a.json", json.dumps(coco(annotations=entries))))
    assert 1 not in found[1]
    assert "12 pixels belong to several objects" in caplog.text


@pytest.mark.parametrize(
    "names", ["names: [cat, 'big dog']", "names:\n- cat\n- big dog", "names:\n  0: cat\n  1: big dog"]
)
def test_yolo_of_strangers(tmp_path: Path, names: str) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "f_1.png")
    write(tmp_path / "data.yaml", f"train: images\nnc: 2\n{names}\n")
    write(tmp_path / "labels" / "f_1.txt", "1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n")
    with open_annotation(tmp_path) as annotation:
        (frame,) = annotation.frames()
        assert (annotation.size, dict(annotation.names)) == ((10, 20), {1: "cat", 2: "big dog"})
    assert int((frame.ids == 2).sum()) == 8 * 6


def test_davis_trees_of_every_form(tmp_path: Path) -> None:
    ids = np.full((16, 16), 1, np.uint8)
    for number, folder in enumerate(
        ("a/Annotations/480p/dog", "b/dog/Annotations", "c/dog", "dog", "d/Annotations/dog")
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_mask(tmp_path / folder / "00003.png", ids)
        root = tmp_path / folder.split("/")[0]
        with open_annotation(root) as annotation:
            assert (annotation.video.name, [f.number for f in annotation.frames()]) == ("dog", [3]), number
    write_mask(tmp_path / "c" / "00000.png", ids)
    (tmp_path / "e" / "x").mkdir(parents=True)
    (tmp_path / "e" / "y").mkdir()
    for name in "xy":
        write_mask(tmp_path / "e" / name / "00000.png", ids)
    with pytest.raises(FormatError, match=r"holds 2 videos .*--video NAME"), open_annotation(tmp_path / "e"):
        pass
    with open_annotation(tmp_path / "e", video="y") as annotation:
        assert annotation.video.name == "y"


ENTITIES = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
REFUSED_XML = {
    "entities": (ENTITIES + "<annotations>&b;</annotations>", "document type"),
    "external": ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotations/>', "document type"),
    "cut off": (cvat("")[:-20], "damaged or not XML"),
    "no XML": ("hello", "damaged or not XML"),
    "other": ("<svg></svg>", "begins with <svg>"),
    "deep": ("<annotations>" + "<a>" * 100 + "</a>" * 100 + "</annotations>", "levels deep"),
    "boxes": (
        cvat('<track id="0" label="c"><box frame="0" outside="0" xtl="1" ytl="1" xbr="2" ybr="2"></box></track>'),
        "no masks or polygons in tracks; it has 1 boxes",
    ),
    "images": (cvat(picture(0, "")), "no masks or polygons in its images"),
    "image boxes": (
        cvat(picture(0, '<box label="c" xtl="1" ytl="1" xbr="2" ybr="2"></box>')),
        "no masks or polygons in its images; it has 1 boxes",
    ),
    "no tracks": (cvat(picture(0, mask_of(None)) + picture(1, mask_of(None))), "objects in 2 images have no attribute"),
    "track id": (cvat(picture(0, mask_of("1.5"))), "'1.5' is not a whole number"),
    "far track": (cvat(picture(0, mask_of("255"))), "ids go from 1 to 254"),
    "two sizes": (cvat(picture(0, mask_of("1")) + picture(1, "", 9)), "images of 2 sizes"),
    "image twice": (cvat(picture(0, mask_of("1")) * 2), "the image 0 comes twice"),
    "large image": (cvat(picture(0, mask_of("1"), 10**8)), "million pixels"),
    "both": (cvat(picture(0, mask_of("1")) + f'<track id="1" label="c">{mask(0)}</track>'), "has tracks and images"),
    "runs": (cvat(f'<track id="0" label="c">{mask(0, "0, 5")}</track>'), "add up to 5 pixels, not 4"),
    "huge box": (cvat(f'<track id="0" label="c">{mask(0, "0, 4", (0, 0, 9**9, 9**9))}</track>'), "has a box of"),
    "text": (cvat(f'<track id="0" label="c">{mask(0, "0, x")}</track>'), "damaged run lengths"),
    "no size": (cvat(f'<track id="0" label="c">{mask(0)}</track>', "<meta></meta>"), "how large its frames are"),
    "large": (cvat(f'<track id="0" label="c">{mask(0)}</track>', META.replace(">12<", ">99999999<")), "million pixels"),
    "many": (
        cvat("".join(f'<track id="{n}" label="c">{mask(0)}</track>' for n in range(256))),
        "256 tracks; at most 254",
    ),
    "far id": (cvat(f'<track id="999" label="c">{mask(0)}</track>'), "track id 999"),
    "twice": (cvat(f'<track id="1" label="c">{mask(0)}</track>' * 2), "comes twice"),
    "far frame": (
        cvat(f'<track id="1" label="c">{mask(0)}{mask(10**15)}</track>'),
        "this range is too large or not valid",
    ),
}


@pytest.mark.parametrize("case", REFUSED_XML)
def test_cvat_that_is_refused(case: str, tmp_path: Path) -> None:
    text, reason = REFUSED_XML[case]
    with pytest.raises(UserError, match=reason) as caught:
        ids_of(write(tmp_path / "a.xml", text))
    assert "\n" not in caught.value.args[0]
    assert "a.xml" in str(caught.value)


def entry(**changes: Any) -> dict[str, Any]:
    return coco(annotations=[{**coco()["annotations"][0], **changes}])


REFUSED_JSON = {
    "no JSON": ("{", "damaged or not JSON"),
    "deep": ("[" * 100_000, "damaged or not JSON"),
    "list": ([], "no list of images"),
    "no instances": ({"images": [{"id": 1}], "annotations": {}}, "no list of annotations"),
    "unknown image": (entry(image_id=3), "which is not listed"),
    "wrong size": (entry(segmentation={"size": [9, 12], "counts": [108]}), "its frame 8x12"),
    "wrong runs": (entry(segmentation={"size": [8, 12], "counts": [100]}), "add up to 100"),
    "negative": (entry(segmentation={"size": [8, 12], "counts": [-4, 100]}), "add up to 96"),
    "characters": (entry(segmentation={"size": [8, 12], "counts": "zz\x00"}), "damaged run lengths"),
    "two points": (entry(segmentation=[[1, 2, 3, 4]]), "needs three"),
    "infinite": (entry(segmentation=[[1, 2, 3, 4, float("inf"), 2]]), "damaged"),
    "far": (entry(segmentation=[[1, 2, 3, 4, 1e9, 2]]), "not pixels"),
    "text": (entry(segmentation=[["a", 2, 3, 4, 5, 6]]), "damaged"),
    "track": (entry(track_id=0), "ids go from 1 to 254"),
    "many": (entry(track_id=255), "ids go from 1 to 254"),
    "no mask": (entry(segmentation=[]), "no masks"),
    "no height": (coco(images=[{"id": 7, "file_name": "a.png"}]), "height"),
}


@pytest.mark.parametrize("case", REFUSED_JSON)
def test_coco_that_is_refused(case: str, tmp_path: Path) -> None:
    data, reason = REFUSED_JSON[case]
    text = data if isinstance(data, str) else json.dumps(data)
    with pytest.raises(UserError, match=reason) as caught:
        ids_of(write(tmp_path / "a.json", text))
    assert "\n" not in caught.value.args[0]


def test_zips_that_are_refused(tmp_path: Path) -> None:
    for name, reason in (("../../evil.xml", "lies outside"), ("/evil.xml", "lies outside")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(FormatError, match=reason):
            ids_of(tmp_path / "a.zip")
    write(tmp_path / "b.zip", "no zip")
    with pytest.raises(FormatError, match="cannot be unpacked"):
        ids_of(tmp_path / "b.zip")


@pytest.mark.parametrize("text", ["1", "1=", "0=a", "255=a", "1=a,1=b", "a=1", "1=a=b", ""])
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_names(text)
    assert parse_names(" 1 = big dog,2=ö") == {1: "big dog", 2: "ö"}
    assert parse_names(None) == {}


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_files_give_one_line_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes that are changed, cut out or put in at random, in files of each kind."""
    folder = tmp_path_factory.mktemp("damaged")
    line = {"index": 0, "objects": {"1": {"size": [8, 12], "counts": "4k2"}}, "names": {"1": "a"}, "name": "x"}
    good = {
        "a.xml": cvat(f'<track id="0" label="c">{mask(0)}{mask(3, outside=1)}</track>'),
        "b.xml": cvat(picture(0, mask_of("1")) + picture(3, mask_of("2"))),
        "a.json": json.dumps(entry(track_id=3)),
        "a.jsonl": json.dumps(line) + "\n",
    }
    name = data.draw(st.sampled_from(sorted(good)))
    raw = bytearray(good[name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"9" * 12, b"-1"])
        )
    (folder / name).write_bytes(raw)
    said = ""
    try:
        with open_annotation(folder / name) as annotation:
            for _, frame in zip(range(50), annotation.frames(), strict=False):
                assert frame.ids.shape == annotation.size
    except UserError as error:
        said = error.args[0]
    assert "\n" not in said
