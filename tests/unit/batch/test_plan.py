"""Which videos a plan finds, and which mask belongs to which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crwedge.batch.plan import plan_rows, select_rows
from crwedge.batch.row import Row
from crwedge.core.errors import SettingError, SourceError, UserError


def tree(root: Path, *names: str) -> Path:
    """Empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def plan(root: Path, *sources: str, masks: Path | None = None) -> dict[str, tuple[str, str, dict[str, object]]]:
    """Name -> video and mask, relative to `root`, and options."""
    rows = plan_rows([str(root / s) for s in sources] or [str(root)], str(masks) if masks is not None else None)

    def short(path: str) -> str:
        return path.removeprefix(f"{root}/")

    return {row.name: (short(row.video), row.problem or short(row.mask), row.options) for row in rows}


def test_masks_beside_the_videos(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "a.png", "sub/b.mkv", "sub/b_mask.png", "other.png", ".hidden.mp4", "notes.txt")
    assert plan(tmp_path) == {"a": ("a.mp4", "a.png", {}), "sub/b": ("sub/b.mkv", "sub/b_mask.png", {})}


def test_a_folder_of_masks(tmp_path: Path) -> None:
    tree(tmp_path, "clips/a.mp4", "clips/s/b.mp4", "clips/c.mp4", "m/a.png", "m/s/b_mask.png", "m/c/00012.png")
    assert plan(tmp_path, "clips", masks=tmp_path / "m") == {
        "a": ("clips/a.mp4", "m/a.png", {}),
        "c": ("clips/c.mp4", "m/c/00012.png", {"start": 12}),
        "s/b": ("clips/s/b.mp4", "m/s/b_mask.png", {}),
    }


def test_a_folder_masks_among_the_videos_is_found(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b.mp4", "b.png", "masks/a.png", "masks/more/x.png")
    assert plan(tmp_path) == {"a": ("a.mp4", "masks/a.png", {}), "b": ("b.mp4", "b.png", {})}


def test_folders_of_frames(tmp_path: Path) -> None:
    tree(tmp_path, "dog/1.jpg", "dog/2.jpg", "dog.png", "cat/1.jpg", "cat_mask.png", "a.mp4", "a.png")
    assert plan(tmp_path) == {
        "a": ("a.mp4", "a.png", {}),
        "cat": ("cat", "cat_mask.png", {}),
        "dog": ("dog", "dog.png", {}),
    }
    assert plan(tmp_path, "dog") == {"dog": ("dog", "dog.png", {})}


def test_trees_of_davis(tmp_path: Path) -> None:
    tree(tmp_path / "d", "JPEGImages/480p/bear/00000.jpg", "JPEGImages/480p/bear/00001.jpg")
    tree(tmp_path / "d", "Annotations/480p/bear/00000.png", "Annotations/480p/bear/00001.png")
    assert plan(tmp_path / "d") == {
        "480p/bear": ("JPEGImages/480p/bear", "Annotations/480p/bear/00000.png", {}),
    }
    tree(tmp_path / "p", "cow/JPEGImages/5.jpg", "cow/JPEGImages/6.jpg", "cow/Annotations/6.png", "cow/joints.json")
    assert plan(tmp_path / "p") == {"cow": ("cow/JPEGImages", "cow/Annotations/6.png", {"start": 1})}
    found = plan(tmp_path / "d", "JPEGImages/480p", masks=tmp_path / "d" / "Annotations" / "480p")
    assert found == {"bear": ("JPEGImages/480p/bear", "Annotations/480p/bear/00000.png", {})}


def test_a_mask_that_belongs_to_no_frame(tmp_path: Path) -> None:
    tree(tmp_path, "c/a/x1.jpg", "c/b/1.jpg", "m/a/00000.png", "m/b/1.png")
    found = plan(tmp_path, "c", masks=tmp_path / "m")
    assert "is not named after a frame" in found["a"][1]
    assert found["b"] == ("c/b", "m/b/1.png", {})


def test_two_masks_and_no_mask(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "a.png", "a_mask.png", "b.mp4", "c.mp4", "c.png")
    found = plan(tmp_path)
    assert "two masks" in found["a"][1]
    assert "no mask" in found["b"][1]
    assert found["c"][1] == "c.png"
    (tmp_path / "c.png").unlink()
    with pytest.raises(SettingError, match="no video can be followed"):
        plan(tmp_path)


def test_videos_and_lists(tmp_path: Path) -> None:
    tree(tmp_path, "x/a.mp4", "x/a.png", "y/b.mp4", "y/b_mask.png", "y/c.mp4")
    (tmp_path / "list.txt").write_text("# two of them\nx/a.mp4\ny/b.mp4\n")
    expected: dict[str, tuple[str, str, dict[str, object]]] = {
        "a": ("x/a.mp4", "x/a.png", {}),
        "b": ("y/b.mp4", "y/b_mask.png", {}),
    }
    assert plan(tmp_path, "x/a.mp4", "y/b.mp4") == expected
    assert plan(tmp_path, "list.txt") == expected


def test_names_that_would_write_over_each_other(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "a.png", "a.mkv")
    with pytest.raises(SettingError, match="both called a"):
        plan(tmp_path)
    (tmp_path / "a.mkv").unlink()
    tree(tmp_path, "a/b.mp4", "a/b.png")
    with pytest.raises(SettingError, match="would lie inside those of"):
        plan(tmp_path)


def test_nothing_to_follow(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in (("empty", "no video in"), ("nowhere", "no file or folder"), ("x.csv", "no table")):
        with pytest.raises(SourceError, match=message):
            plan(tmp_path, source)
    for stream in ("rtsp://camera/live", "v4l2:///dev/video0"):
        with pytest.raises(SourceError, match="is a stream"):
            plan_rows([stream])


def rows_of(path: Path, text: str) -> list[Row]:
    path.write_text(text)
    return plan_rows([str(path)])


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table(tmp_path: Path, mark: str) -> None:
    table = [
        ("Video", "mask", "name", "start", "reverse", "size", "topk"),
        ("a.mp4", "a.png", "", "", "", "", ""),
        ("sub/b.mp4", "/masks/b.png", "day/b", "7", "yes", "48x96", "5"),
        ("c.mp4", "", "", "", "", "", ""),
    ]
    path = tmp_path / ("t.tsv" if mark == "\t" else "t.csv")
    a, b, c = rows_of(path, "﻿" + "\r\n".join(mark.join(cells) for cells in table) + "\r\n")
    assert (a.name, a.video, a.mask, a.options) == ("a", f"{tmp_path}/a.mp4", f"{tmp_path}/a.png", {})
    assert (b.name, b.video, b.mask) == ("day/b", f"{tmp_path}/sub/b.mp4", "/masks/b.png")
    assert b.options == {"start": 7, "reverse": True, "size": [48, 96], "topk": 5}
    assert "no mask" in c.problem


def test_a_table_of_json_lines(tmp_path: Path) -> None:
    lines = [
        {"video": "a.mp4", "mask": "a.png", "options": {"start": 3}, "settings": {"radius": None}},
        {"video": "b.mp4", "mask": "b.png", "save": ["o.mp4"], "state": "done", "frames": 3},
    ]
    a, b = rows_of(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    assert a.options == {"start": 3, "radius": None}
    assert (b.save, b.options) == (("o.mp4",), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,mask,colour\na.mp4,a.png,red\n", "line 2: there is no column 'colour'"),
        ("video,mask,start\na.mp4,a.png,\nb.mp4,b.png,soon\n", "line 3: start"),
        ("mask\na.png\n", "line 2: it names no video"),
        ("video,mask\na.mp4,a.png,1\n", "line 2: it has more cells"),
        ("video,mask,name\na.mp4,a.png,../x\n", "not a name for results"),
        ("video,mask,name\na.mp4,a.png,.x\n", "not a name for results"),
        ("", "is empty"),
        ("video,mask\n", "no video in"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path / "t.csv", text)


def test_some_of_the_videos(tmp_path: Path) -> None:
    rows = plan_rows([str(tree(tmp_path, "a.mp4", "a.png", "b.mp4", "b.png", "s/c.mp4", "s/c.png"))])
    assert [row.name for row in select_rows(rows, ["s/*", "a"])] == ["a", "s/c"]
    assert select_rows(rows, []) == rows
