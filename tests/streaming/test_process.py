"""`crwedge track` as a process: signals, full disks, broken pipes and kills. What was written is readable each time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.masks import write_mask
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.ops.snapshot import read_snapshot

COUNT = 120
SMALL = 256 * 1024


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures and init.png."""
    folder = tmp_path_factory.mktemp("film")
    scene = render_scene(COUNT, 48, 64)
    (folder / "frames").mkdir()
    for index, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(folder / "frames" / f"{index:05d}.png")
    write_mask(folder / "init.png", scene.masks[0])
    return folder


def command(film: Path, *more: object) -> list[str]:
    words = ["track", film / "frames", "--mask", film / "init.png", "--model", shipped_bundle(), "--set", "threads=1"]
    return [sys.executable, "-m", "crwedge", *map(str, (*words, "--set", "context-length=3", *more))]


def start(film: Path, *more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(film, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 300
    while not path.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    assert path.exists(), process.communicate()


def lines_of(path: Path) -> list[dict[str, object]]:
    """The lines without the time of day."""
    lines: list[dict[str, object]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(str(line.pop("time")).endswith("+00:00") for line in lines)
    return lines


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_good_order(film: Path, tmp_path: Path, number: int, code: int) -> None:
    outs = [tmp_path / "masks", tmp_path / "o.mp4", tmp_path / "o.jsonl"]
    arguments = [part for out in outs for part in ("--out", out)]
    process = start(film, *arguments, "--snapshot", tmp_path / "s", "--json")
    wait_for(tmp_path / "masks" / "00005.png", process)
    process.send_signal(number)
    shown, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    result = json.loads(shown.splitlines()[-1])
    assert result["stopped_by"] == number
    assert result["frames_in"] == result["tracked"] + result["dropped"] + result["failed"]
    assert 6 <= result["tracked"] == result["written"]
    # Every label map is in every output, and the state is that after the last one.
    assert len(list((tmp_path / "masks").iterdir())) == result["tracked"]
    assert len(lines_of(tmp_path / "o.jsonl")) == result["tracked"]
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == result["tracked"]
    assert read_snapshot(tmp_path / "s").index == result["tracked"]


@pytest.mark.slow
def test_stopped_twice_and_resumed_equals_one_run(film: Path, tmp_path: Path) -> None:
    whole = subprocess.run(
        command(film, "--out", tmp_path / "whole", "--out", tmp_path / "whole.jsonl"), capture_output=True, check=True
    )
    assert whole.returncode == 0
    rng = random.Random(5)
    arguments = ("--out", tmp_path / "m", "--out", tmp_path / "m.jsonl", "--snapshot", tmp_path / "s", "--resume")
    # Once asked to end, once killed without warning; then to the end.
    for number, frame in ((signal.SIGTERM, "00008.png"), (signal.SIGKILL, "00020.png")):
        process = start(film, *arguments, "--set", "snapshot-every=0")
        wait_for(tmp_path / "m" / frame, process)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(number)
        process.communicate(timeout=300)
        for path in (tmp_path / "m").glob("[0-9]*.png"):
            cw.read_mask(path)
        read_snapshot(tmp_path / "s")
    last = start(film, *arguments, "--json")
    shown, said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    assert 0 < json.loads(shown)["tracked"] < COUNT - 8
    for index in range(COUNT):
        name = f"{index:05d}.png"
        np.testing.assert_array_equal(cw.read_mask(tmp_path / "m" / name), cw.read_mask(tmp_path / "whole" / name))
    got, expected = lines_of(tmp_path / "m.jsonl"), lines_of(tmp_path / "whole.jsonl")
    assert got == expected


@pytest.mark.slow
def test_killed_at_random_moments(film: Path, tmp_path: Path) -> None:
    rng = random.Random(11)
    for round_number in range(3):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        outs = ("--out", folder / "m", "--out", folder / "o.mp4", "--out", folder / "o.jsonl")
        process = start(film, *outs, "--snapshot", folder / "s", "--set", "snapshot-every=0")
        wait_for(folder / "s", process)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        masks = sorted((folder / "m").glob("[0-9]*.png"))
        assert all(cw.read_mask(path).shape == (48, 64) for path in masks)
        text = (folder / "o.jsonl").read_text()
        assert [json.loads(line)["index"] for line in text.splitlines()[: text.count("\n")]] == list(
            range(text.count("\n"))
        )
        if (folder / "o.mp4").stat().st_size > 2000:
            with av.open(str(folder / "o.mp4")) as container:
                list(container.decode(video=0))
        # The snapshot never runs ahead of what was written.
        assert read_snapshot(folder / "s").index <= len(masks)


def test_a_reader_that_goes_away(film: Path) -> None:
    process = start(film, "--out", "-")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["index"] == 0
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as said:
        assert "Traceback" not in said.read()
    assert process.wait(300) == 141


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of `SMALL` bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"cannot mount a tmpfs: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["m", "o.jsonl", "o.mp4"])
def test_a_full_disk_leaves_what_is_readable(film: Path, small_disk: Path, tmp_path: Path, kind: str) -> None:
    # Almost full, so that the end comes in the middle of the film.
    ballast = {"m": 230_000, "o.jsonl": 252_000, "o.mp4": 0}[kind]
    if kind == "o.mp4":
        # How long a film is depends on the encoder's version: leave room for half of it.
        subprocess.run(command(film, "--out", tmp_path / kind), capture_output=True, check=True)
        ballast = SMALL - (tmp_path / kind).stat().st_size // 2
    (small_disk / "ballast").write_bytes(b"x" * ballast)
    other = tmp_path / "other.jsonl"
    done = subprocess.run(
        command(film, "--out", small_disk / kind, "--out", other, "--json"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("crwedge: ")]
    assert len(errors) == 1
    assert "No space left" in errors[0]
    whole = lines_of(other)
    assert 0 < len(whole) < COUNT
    if kind == "m":
        masks = sorted((small_disk / "m").glob("*.png"))
        assert masks
        assert all(cw.read_mask(path).shape == (48, 64) for path in masks)
        assert not list((small_disk / "m").glob("*.part"))
    elif kind == "o.jsonl":
        lines = lines_of(small_disk / kind)
        assert lines == whole[: len(lines)]
    else:
        # The disk was full in the middle of a fragment: what stands before it plays.
        frames = 0
        with av.open(str(small_disk / kind)) as container, contextlib.suppress(av.error.InvalidDataError):
            for _ in container.decode(video=0):
                frames += 1
        assert frames > 0


def test_a_disk_too_full_for_snapshots_does_not_stop_the_run(film: Path, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 240_000)
    done = subprocess.run(
        command(
            film,
            "--out",
            tmp_path / "o.jsonl",
            "--snapshot",
            small_disk / "s",
            "--set",
            "snapshot-every=0.2",
            "--set",
            "max-frames=30",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(lines_of(tmp_path / "o.jsonl")) == 30
    assert '"snapshot_failed"' in done.stderr


def test_a_pipe_as_a_source(tmp_path: Path, film: Path) -> None:
    from tests.unit.conftest import write_video

    scene = render_scene(8, 48, 64)
    data = write_video(tmp_path / "clip.mkv", scene.frames).read_bytes()
    words = command(film, "--json")
    words[words.index("track") + 1] = "-"
    done = subprocess.run(words, input=data, capture_output=True, check=True)
    assert json.loads(done.stdout)["tracked"] == 8


@pytest.mark.slow
def test_two_cameras_on_one_engine_give_what_each_gives_alone(tmp_path: Path, film: Path) -> None:
    for number, seed in enumerate((3, 4)):
        scene = render_scene(10, 48, 64, seed=seed)
        (tmp_path / f"f{number}").mkdir()
        for index, frame in enumerate(scene.frames):
            Image.fromarray(frame).save(tmp_path / f"f{number}" / f"{index:05d}.png")
        write_mask(tmp_path / f"{number}.png", scene.masks[0])
    base = command(film)
    head, tail = base[: base.index("track") + 1], base[base.index("--model") :]
    both = [
        *head,
        "f0",
        "f1",
        "--mask",
        "0.png",
        "--mask",
        "1.png",
        *tail,
        "--out",
        "both",
        "--out",
        "both.jsonl",
        "--json",
    ]
    result = json.loads(subprocess.run(both, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert (result["frames_in"], result["tracked"]) == (20, 20)
    assert [stream["tracked"] for stream in result["streams"]] == [10, 10]
    for number in range(2):
        alone = [*head, f"f{number}", "--mask", f"{number}.png", *tail, "--out", f"alone{number}"]
        subprocess.run(alone, cwd=tmp_path, capture_output=True, check=True)
        for index in range(10):
            name = f"{index:05d}.png"
            np.testing.assert_array_equal(
                cw.read_mask(tmp_path / "both" / str(number) / name), cw.read_mask(tmp_path / f"alone{number}" / name)
            )
    assert len(lines_of(tmp_path / "both-1.jsonl")) == 10


def test_two_sources_need_two_masks(film: Path) -> None:
    words = command(film)
    words.insert(words.index("track") + 1, str(film / "frames"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "as many masks" in done.stderr
