"""Annotations as masks of a batch: the same as for `track`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crwedge.batch.fingerprint import fingerprint
from crwedge.cli import run
from crwedge.core.scene import render_scene
from crwedge.formats.annotation import AnnotatedFrame
from crwedge.formats.open import write_annotation
from tests.unit.batch.conftest import lines, masks
from tests.unit.conftest import write_video
from tests.unit.formats.masks import of_frames


@pytest.mark.usefixtures("in_process")
def test_an_annotation_is_a_mask_as_for_track(tmp_path: Path) -> None:
    scene = render_scene(5, 64, 96, seed=1)
    write_video(tmp_path / "clip.mp4", scene.frames)
    # The first object is painted in the third frame.
    frames = [AnnotatedFrame(number, scene.masks[number] * (number > 1)) for number in range(5)]
    annotation = of_frames(frames, {1: "dog", 2: "rider"})
    forms = {"cvat": "a.xml", "coco": "a.json", "davis": "tree"}
    for form, name in forms.items():
        write_annotation(annotation, tmp_path / name, form)
    rows = [{"video": "clip.mp4", "mask": name, "name": form} for form, name in forms.items()]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["batch", str(tmp_path / "table.jsonl"), "--out", str(tmp_path / "out"), "--save", "masks"]) == 0
    found = lines(tmp_path / "out")
    assert {name: (line["state"], line["frames"]) for name, line in found.items()} == dict.fromkeys(forms, ("done", 3))
    for form, name in forms.items():
        target = str(tmp_path / "track" / form / "masks")
        assert run(["track", str(tmp_path / "clip.mp4"), "--mask", str(tmp_path / name), "--out", target]) == 0
    assert masks(tmp_path / "out") == masks(tmp_path / "track")
    # A changed file of a tree is another mask.
    assert found["davis"]["mask_sha256"] == fingerprint(tmp_path / "tree").sha256
    next((tmp_path / "tree").rglob("*.png")).write_bytes(b"other")
    assert found["davis"]["mask_sha256"] != fingerprint(tmp_path / "tree").sha256
    assert found["davis"]["mask_stamp"] != fingerprint(tmp_path / "tree").stamp
