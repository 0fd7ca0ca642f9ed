"""Snapshots: the format is safetensors, damage is refused, and what follows is as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import CrwedgeError, MaskError, UserError
from crwedge.core.scene import Scene, render_scene
from crwedge.core.tensors import HASH, TensorFileError, read_tensors, write_tensors
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.ops.snapshot import FORMAT, SnapshotError, Snapshots, State, read_snapshot, write_snapshot

SETTINGS = cw.PropagationSettings(context_length=4, topk=5, radius=5)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(10, 64, 96)


def opened(**more: object) -> cw.Tracker:
    return cw.Tracker.open(shipped_bundle(), settings=SETTINGS.with_changes(**more), workers=1)


def test_the_file_is_safetensors(tmp_path: Path) -> None:
    load = pytest.importorskip("safetensors.numpy")
    tensors: dict[str, np.ndarray] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.ones((3, 1), np.float16),
        "none": np.zeros((0, 4), np.int64),
        "one": np.array(7, np.uint8),
    }
    write_tensors(tmp_path / "t", tensors, {"who": "me"})
    for got in (load.load_file(tmp_path / "t"), read_tensors(tmp_path / "t")[0]):
        assert set(got) == set(tensors)
        for name, array in tensors.items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == array.dtype
    words = read_tensors(tmp_path / "t")[1]
    assert (words["who"], set(words)) == ("me", {"who", HASH})
    load.save_file({"x": np.ones(3, np.float32)}, tmp_path / "theirs")
    np.testing.assert_array_equal(read_tensors(tmp_path / "theirs")[0]["x"], 1)


def test_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_tensors(path, {"a": np.arange(64, dtype=np.float32)}, {})
    whole = path.read_bytes()
    rng = random.Random(3)
    cuts = [whole[: rng.randrange(len(whole))] for _ in range(50)] + [b"", whole + b"x", b"\xff" * 40]
    cuts += [whole.replace(b"F32", b"F99"), whole.replace(b"[0,256]", b"[0,252]"), whole.replace(b"[64]", b"[-1]")]
    for data in cuts:
        path.write_bytes(data)
        with pytest.raises(TensorFileError, match="damaged"):
            read_tensors(path)
    with pytest.raises(TensorFileError, match="cannot read"):
        read_tensors(tmp_path / "absent")


@pytest.mark.parametrize("stop_after", [1, 3, 7])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_resumed_label_maps_are_identical(tmp_path: Path, scene: Scene, stop_after: int, storage: str) -> None:
    path = tmp_path / "s.safetensors"
    expected = []
    with opened(storage=storage) as tracker:
        for index, frame in enumerate(scene.frames):
            # A correction on the way makes a second pinned frame.
            mask = scene.masks[index] if index in (0, 2) else None
            expected.append(tracker.step(cw.Frame(frame, index), mask))
            if index + 1 == stop_after:
                write_snapshot(path, tracker.state())
    state = read_snapshot(path)
    assert (state.index, state.source_index) == (stop_after, stop_after - 1)
    with opened(storage=storage) as tracker:
        tracker.restore(state)
        for index in range(stop_after, len(scene.frames)):
            mask = scene.masks[index] if index == 2 else None
            labels = tracker.step(cw.Frame(scene.frames[index], index), mask)
            np.testing.assert_array_equal(labels.ids, expected[index].ids)
            np.testing.assert_array_equal(labels.soft, expected[index].soft)
            assert (labels.index, labels.object_ids) == (index, (1, 2))


def test_a_snapshot_of_other_settings_is_refused(tmp_path: Path, scene: Scene) -> None:
    with opened() as tracker:
        with pytest.raises(CrwedgeError, match="before the first frame"):
            tracker.state()
        tracker.step(scene.frames[0], scene.masks[0])
        state = tracker.state()
    for change in ({"radius": 6.0}, {"context_length": 3}):
        with opened(**change) as other, pytest.raises(SnapshotError, match="settings"):
            other.restore(state)
    other = cw.Tracker.open(shipped_bundle(), settings=SETTINGS, options=cw.TrackerOptions((64, 64)))
    with other, pytest.raises(SnapshotError, match="size"):
        other.restore(state)


def test_other_files_and_other_versions_are_refused(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.numpy").save_file
    path, array = tmp_path / "t", {"features": np.zeros(1, np.float32)}
    words = {"format": FORMAT, "state": '{"index": 1, "object_ids": [1], "settings": {}}'}
    write_tensors(path, array, words)
    assert read_snapshot(path).index == 1
    for given, match in (
        ({}, "not a snapshot"),
        ({"format": "crwedge-target-1"}, "not a snapshot"),
        ({**words, "format": "crwedge-snapshot-2"}, "another version of crwedge .crwedge-snapshot-2."),
        (words, "damaged .'sha256'."),  # without a hash
    ):
        save(array, path, metadata=given)
        with pytest.raises(SnapshotError, match=f"{match}.*remove the file to start again"):
            read_snapshot(path)
    path.write_bytes(b"notes")
    with pytest.raises(SnapshotError, match=r"not a safetensors file.*name another snapshot"):
        read_snapshot(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("pinned", []), ("length", 9), ("ring", [0]), ("pinned", [99]), ("slots", [0, 0]), ("trust", [])],
)
def test_a_context_that_does_not_fit_together_is_refused(scene: Scene, name: str, value: object) -> None:
    with opened() as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        tracker.step(scene.frames[1])
        state = tracker.state()
    changed = {**state.facts["context"], name: value}
    assert changed != state.facts["context"]
    with opened() as tracker, pytest.raises(SnapshotError, match=r"damaged .*remove it to start again"):
        tracker.restore(replace(state, facts={**state.facts, "context": changed}))


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, scene: Scene) -> None:
    path, rng = tmp_path / "s", random.Random(5)
    with opened() as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        write_snapshot(path, tracker.state())
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = rng.sample(range(header), 200) + rng.sample(range(header, len(whole)), 60) + [header, len(whole) - 1]
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(SnapshotError, match="name another snapshot, or remove the file to start again"):
            read_snapshot(path)
    path.write_bytes(whole)
    assert read_snapshot(path).index == 1


def test_objects_can_be_removed(scene: Scene) -> None:
    with opened() as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        tracker.step(scene.frames[1])
        with pytest.raises(MaskError, match="no object 9"):
            tracker.remove(9)
        tracker.remove(1)
        labels = tracker.step(scene.frames[2])
        assert labels.object_ids == (2,)
        assert set(np.unique(labels.ids)) == {0, 2}
        np.testing.assert_allclose(labels.soft.sum(axis=0), 1, atol=1e-5)
        with pytest.raises(MaskError, match="last object"):
            tracker.remove(2)
        again = tracker.step(scene.frames[3], np.where(scene.masks[3] == 1, 1, 0).astype(np.uint8))
        assert again.object_ids == (2, 1)


def test_a_full_disk_costs_the_snapshot_and_nothing_else(tmp_path: Path, scene: Scene) -> None:
    told: list[str] = []
    with opened() as tracker:
        labels = tracker.step(scene.frames[0], scene.masks[0])
        snapshots = Snapshots("/dev/full/none", tracker.state, on_event=lambda event, **_: told.append(event))
        snapshots.after(labels)
        snapshots.written(labels)
        snapshots.wanted = True
        snapshots.after(labels)
        snapshots.written(labels)
        snapshots.finish()
    assert told == ["snapshot_failed"] * 2


def test_a_snapshot_is_written_once_its_frame_is_written(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "s"
    with opened() as tracker:
        snapshots = Snapshots(path, tracker.state, every=0)
        found = [tracker.step(cw.Frame(scene.frames[0], 0, 0.5), scene.masks[0])]
        snapshots.after(found[0])
        found.append(tracker.step(cw.Frame(scene.frames[1], 1, 0.6)))
        snapshots.after(found[1])
        assert not path.exists()
        snapshots.written(found[0])
        snapshots.write(read_snapshot_when_there(path))
        assert read_snapshot(path).index == 1
        snapshots.finish()
    state = read_snapshot(path)
    assert (state.index, state.facts["pts"]) == (2, 0.6)
    assert state.pts_now is not None
    assert 0.6 <= state.pts_now < 60


def read_snapshot_when_there(path: Path) -> State:
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    return read_snapshot(path)


def test_another_source_is_refused(scene: Scene) -> None:
    with opened() as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        state = tracker.state()
    state = replace(state, facts={**state.facts, "source": "/a.mp4"})
    state.check_source("/a.mp4")
    with pytest.raises(SnapshotError, match=r"from /a\.mp4, not from /b\.mp4"):
        state.check_source("/b.mp4")


def test_a_snapshot_loads_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    code = f"""
import numpy as np
from crwedge.core.scene import render_scene
from tests.unit.runtime.test_snapshot import opened
from crwedge.runtime.ops.snapshot import write_snapshot
scene = render_scene(4, 64, 96)
tracker = opened()
tracker.step(scene.frames[0], scene.masks[0])
while True:
    tracker.step(scene.frames[1])
    write_snapshot({str(path)!r}, tracker.state())
"""
    rng = random.Random(1)
    process = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(rng.uniform(0.05, 0.4))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with opened() as tracker:
        tracker.restore(read_snapshot(path))
        assert tracker.object_ids == (1, 2)


def test_errors_are_the_users_to_cure() -> None:
    assert issubclass(TensorFileError, UserError)
    assert issubclass(SnapshotError, UserError)
