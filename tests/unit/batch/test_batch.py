"""`crwedge batch` from end to end."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from crwedge.batch.local_results import LocalResults
from crwedge.cli import run
from crwedge.core.masks import read_mask, write_mask
from tests.unit.batch.conftest import FRAMES, lines, masks, start_batch


def batch(*arguments: object) -> int:
    return run(["batch", *map(str, arguments)])


def test_results_are_those_of_track_bit_for_bit(clips: Path, tmp_path: Path) -> None:
    options = ["--preset", "edge", "--engine", "cpu"]
    saved = ["--save", "masks", "--save", "o.jsonl", "--save", "o.mp4"]
    assert batch(clips, "--out", tmp_path / "out", "--workers", 2, "--set", "context_length=3", *options, *saved) == 0
    for number in range(3):
        one = tmp_path / "track" / f"v{number}"
        outs = [part for name in ("masks", "o.jsonl", "o.mp4") for part in ("--out", str(one / name))]
        video, mask = str(clips / f"v{number}.mp4"), str(clips / f"v{number}.png")
        assert run(["track", video, "--mask", mask, "--set", "context=3", *options, *outs]) == 0
        assert (one / "o.mp4").read_bytes() == (tmp_path / "out" / f"v{number}" / "o.mp4").read_bytes()
        assert frames_of(one / "o.jsonl") == frames_of(tmp_path / "out" / f"v{number}" / "o.jsonl")
    assert masks(tmp_path / "out") == masks(tmp_path / "track")
    assert len(masks(tmp_path / "out")) == 3 * FRAMES


def frames_of(path: Path) -> list[dict[str, Any]]:
    """Lines of an output without the clock."""
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("in_process")
def test_a_bad_video_stops_no_other(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "v1.mp4").write_text("no video")
    (clips / "v2.png").unlink()
    (clips / "v3.mp4").write_bytes((clips / "v0.mp4").read_bytes()[:2000])
    write_mask(clips / "v3.png", read_mask(clips / "v0.png"))
    assert batch(clips, "--out", tmp_path / "out", "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["videos"], summary["done"], summary["failed"], summary["skipped"]) == (4, 1, 3, 0)
    found = lines(tmp_path / "out")
    assert {name: line["state"] for name, line in found.items()} == {
        "v0": "done",
        "v1": "failed",
        "v2": "failed",
        "v3": "failed",
    }
    assert "cannot open" in found["v1"]["error"]
    assert "v2.png or v2_mask.png" in found["v2"]["error"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"v0", "manifest.jsonl", ".crwedge"}


@pytest.mark.usefixtures("in_process")
def test_a_line_has_what_decides_its_result(clips: Path, tmp_path: Path) -> None:
    assert batch(clips, "--only", "v0", "--out", tmp_path / "out", "--set", "max_frames=4") == 0
    line = lines(tmp_path / "out")["v0"]
    assert (line["state"], line["frames"], line["error"], line["attempts"]) == ("done", 4, None, 1)
    assert line["options"] == {"max_frames": 4}
    assert (line["settings"]["context_length"], line["settings"]["cells"]) == (7, 1600)
    assert all(len(line[name]) == 64 for name in ("model_sha256", "source_sha256", "mask_sha256"))
    assert line["outputs"] == ["v0/masks"]
    assert line["object_ids"] == [1, 2]
    assert json.loads((tmp_path / "out" / "v0" / "result.json").read_text()) == line


@pytest.mark.usefixtures("in_process")
def test_a_line_of_the_manifest_repeats_its_result(clips: Path, tmp_path: Path) -> None:
    assert batch(clips, "--out", tmp_path / "out", "--set", "topk=4", "--set", "start=2") == 0
    # On its own, with other defaults, from another folder.
    line = next(x for x in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines() if '"name":"v1"' in x)
    (tmp_path / "one.jsonl").write_text(line + "\n")
    assert batch(tmp_path / "one.jsonl", "--out", tmp_path / "again", "--preset", "crw", "--workers", 1) == 0
    again = masks(tmp_path / "again" / "v1")
    assert again == masks(tmp_path / "out" / "v1")
    assert len(again) == FRAMES - 2
    # It is no result of another video, mask or model.
    for name, what in (("source_sha256", "video"), ("mask_sha256", "mask"), ("model_sha256", "model")):
        (tmp_path / "one.jsonl").write_text(json.dumps({**json.loads(line), name: "0" * 64}))
        assert batch(tmp_path / "one.jsonl", "--out", tmp_path / name) == 1
        assert what in lines(tmp_path / name)["v1"]["error"]


@pytest.mark.usefixtures("in_process")
def test_done_videos_are_not_done_again(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert batch(clips, "--out", out) == 0
    before = stamps(out)
    assert batch(clips, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 3
    assert stamps(out) == before
    # A copy with other times has the same contents; a manifest that is gone is gathered again.
    (clips / "v0.mp4").write_bytes((clips / "v0.mp4").read_bytes())
    (out / "manifest.jsonl").unlink()
    assert batch(clips, "--out", out) == 0
    assert stamps(out) == before
    assert {line["state"] for line in lines(out).values()} == {"done"}


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*/result.json")}


@pytest.mark.usefixtures("in_process")
def test_a_corrected_mask_is_followed_again(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch(clips, "--out", out) == 0
    before, old = stamps(out), masks(out / "v1")
    corrected = read_mask(clips / "v1.png").copy()
    corrected[corrected == 2] = 0
    write_mask(clips / "v1.png", corrected)
    assert batch(clips, "--out", out) == 0
    after = stamps(out)
    assert {name for name in after if after[name] != before[name]} == {"v1"}
    assert masks(out / "v1") != old
    assert lines(out)["v1"]["object_ids"] == [1]


@pytest.mark.usefixtures("in_process")
def test_other_settings_are_refused_unless_told(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert batch(clips, "--out", out) == 0
    before = stamps(out)
    for other in (["--set", "topk=5"], ["--set", "start=1"], ["--save", "o.mp4"], ["--preset", "crw"]):
        assert batch(clips, "--out", out, *other) == 2
        shown = capsys.readouterr().err.splitlines()[-1]
        assert "other settings" in shown
        assert "--overwrite" in shown
    assert stamps(out) == before
    assert batch(clips, "--out", out, "--set", "topk=5", "--overwrite") == 0
    assert {line["settings"]["topk"] for line in lines(out).values()} == {5}
    assert set(stamps(out).values()).isdisjoint(before.values())


@pytest.mark.usefixtures("in_process")
def test_another_option_in_a_row_follows_that_video_again(clips: Path, tmp_path: Path) -> None:
    table, out = clips / "t.csv", tmp_path / "out"
    table.write_text("video,mask,start\nv0.mp4,v0.png,\nv1.mp4,v1.png,1\n")
    assert batch(table, "--out", out) == 0
    before = stamps(out)
    table.write_text("video,mask,start\nv0.mp4,v0.png,\nv1.mp4,v1.png,2\n")
    assert batch(table, "--out", out) == 0
    after = stamps(out)
    assert after["v0"] == before["v0"]
    assert after["v1"] != before["v1"]
    assert lines(out)["v1"]["frames"] == FRAMES - 2


@pytest.mark.usefixtures("in_process")
def test_joints(clips: Path, tmp_path: Path) -> None:
    (clips / "j.json").write_text('{"hand": [40, 30], "foot": [60, 40]}')
    (clips / "t.csv").write_text("video,mask,save\nv0.mp4,j.json,o.jsonl\n")
    assert batch(clips / "t.csv", "--out", tmp_path / "out") == 0
    assert set(frames_of(tmp_path / "out" / "v0" / "o.jsonl")[-1]["joints"]) == {"hand", "foot"}


@pytest.mark.usefixtures("in_process")
def test_lines_of_other_videos_stay(clips: Path, tmp_path: Path) -> None:
    for name in ("v2", "v0"):
        assert batch(clips, "--only", name, "--out", tmp_path / "out") == 0
    assert list(lines(tmp_path / "out")) == ["v0", "v2"]


def test_a_second_batch_is_refused(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalResults(tmp_path / "out").hold():
        assert batch(clips, "--out", tmp_path / "out") == 2
    assert "another batch is running" in capsys.readouterr().err


def test_a_signal_finishes_what_is_begun(tmp_path: Path, clips: Path) -> None:
    process = start_batch(clips, "--out", tmp_path / "out", "--workers", 1)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.startswith("1/3"):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()
    states = [line["state"] for line in lines(tmp_path / "out").values()]
    assert states.count("done") in (1, 2)
    assert states.count("waiting") == 3 - states.count("done")
    time.sleep(0.1)
    assert batch(clips, "--out", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "topk"], "key=value"),
        (["--set", "topc=5"], "did you mean topk"),
        (["--set", "topk=many"], "topk"),
        (["--set", "radius=-1"], "radius"),
        (["--save", "../x"], "below each video's results"),
        (["--save", "/tmp/x"], "below each video's results"),
        (["--only", "w*"], "matches none"),
        (["--model", "nowhere"], "no bundle"),
        (["--engine", "abacus"], "unknown engine"),
        (["--gpus", "1"], "--ray"),
        (["--masks", "nowhere"], "no folder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    arguments: list[str], message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(clips, "--out", tmp_path / "out", *arguments) == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1
    assert message in shown[0]
    assert not (tmp_path / "out").exists()


def test_a_worker_that_takes_too_much_memory_is_ended(clips: Path, tmp_path: Path) -> None:
    assert batch(clips, "--only", "v0", "--out", tmp_path / "out", "--memory", 30, "--workers", 1) == 1
    assert "--memory" in lines(tmp_path / "out")["v0"]["error"]
