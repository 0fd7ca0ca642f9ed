"""Targets in rendered films: found in another film with the same object, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import SettingError
from crwedge.core.film import render_film
from crwedge.core.joints import FrameJoints
from crwedge.core.labels import LabelMap, region_iou
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime.backends.engine import Engine, LockedEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import find_bundle, shipped_bundle
from crwedge.runtime.session import Session
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.target import Target, TargetError, TargetFrame, join_targets, read_target, write_target
from crwedge.runtime.target_finder import TargetFinder

SIZE = 160, 284
OPTIONS = SessionOptions(model=shipped_bundle(), engine="cpu", threads=1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(16, *SIZE, objects=2, seed=7)


@pytest.fixture(scope="module")
def elsewhere() -> Scene:
    """Another place with other objects."""
    return render_scene(8, *SIZE, objects=2, seed=3)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return LockedEngine(open_engine(find_bundle(shipped_bundle()), "cpu", 1))


@pytest.fixture(params=["edge", "crw"])
def preset(request: pytest.FixtureRequest) -> str:
    """A region that follows the objects, and whole frames."""
    return str(request.param)


def painted(scene: Scene, *ids: int, frame: int = 0) -> Target:
    mask = np.where(np.isin(scene.masks[frame], ids), scene.masks[frame], 0).astype(np.uint8)
    return Target((TargetFrame(scene.frames[frame], mask),), {i: f"thing {i}" for i in ids})


def another_day(scene: Scene, elsewhere: Scene, object_id: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of the other place, into which the object has come, and its true mask."""
    inside = scene.masks[number] == object_id
    frame = np.where(inside[..., None], scene.frames[number], elsewhere.frames[number % len(elsewhere.frames)])
    return frame, inside.astype(np.uint8) * np.uint8(object_id)


def search(
    tracker: cw.Tracker, targets: Sequence[Target], frames: Sequence[np.ndarray], **more: Any
) -> tuple[TargetFinder, list[LabelMap]]:
    joined, names = join_targets(targets)
    finder = TargetFinder(joined, names, tracker, **more)
    found = []
    for number, pixels in enumerate(frames):
        frame = Frame(pixels, number)
        found.append(tracker.step(frame, finder.before(frame)))
        finder.after(found[-1])
    return finder, found


def test_an_object_is_found_in_another_film(scene: Scene, elsewhere: Scene, engine: Engine, preset: str) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    seen = [another_day(scene, elsewhere, 1, number) for number in (9, 10, 11)]
    frames = [*elsewhere.frames[:2], *(pixels for pixels, _ in seen)]
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        finder, labels = search(
            tracker, [painted(scene, 1)], frames, on_event=lambda name, **facts: events.append((name, facts))
        )
    assert [one.states for one in labels] == [*2 * [{1: "searching"}], *3 * [{1: "ok"}]]
    assert [one.index for one in labels] == [0, 1, 2, 3, 4]
    assert not any(one.ids.any() or one.object_ids for one in labels[:2])
    for one, (_, truth) in zip(labels[2:], seen, strict=True):
        assert region_iou(one.ids, truth, (1,))[0] > 0.5
    assert finder.summary() == {"1": {"name": "thing 1", "found_at": 2}}
    ((name, facts),) = events
    assert (name, facts["object"], facts["index"], facts["again"]) == ("target_found", 1, 2, False)


def test_nothing_starts_where_the_object_is_not(scene: Scene, elsewhere: Scene, engine: Engine, preset: str) -> None:
    films = [elsewhere, *(render_scene(2, *SIZE, objects=3, seed=seed) for seed in (11, 12, 13))]
    films += [render_film(2, *SIZE, objects=2, seed=seed) for seed in (1, 2)]
    frames = [film.frames[number] for film in films for number in (0, 1)]
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        finder, labels = search(tracker, [painted(scene, 1, 2)], frames)
    assert all(one.states == {1: "searching", 2: "searching"} for one in labels)
    assert [one["found_at"] for one in finder.summary().values()] == [None, None]


def test_several_targets_are_found_each_in_its_time(
    scene: Scene, elsewhere: Scene, engine: Engine, preset: str
) -> None:
    first, _ = another_day(scene, elsewhere, 1, 9)
    both = np.where((scene.masks[9] > 0)[..., None], scene.frames[9], elsewhere.frames[1])
    targets = [painted(scene, 1), replace(painted(scene, 2), names={2: "box"})]
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        finder, labels = search(tracker, targets, [first, *5 * [both]])
    assert labels[0].states == {1: "ok", 2: "searching"}
    assert labels[0].object_ids == (1,)
    assert labels[-1].object_ids == (1, 2)
    assert region_iou(labels[-1].ids, scene.masks[9], (1, 2)).min() > 0.5
    assert {i: one["found_at"] is not None for i, one in finder.summary().items()} == {"1": True, "2": True}


def test_an_object_that_the_tracker_lost_is_searched_again(
    scene: Scene, elsewhere: Scene, engine: Engine, preset: str
) -> None:
    frames = [another_day(scene, elsewhere, 1, number)[0] for number in (9, 10)]
    back, truth = another_day(scene, elsewhere, 1, 2)
    events: list[dict[str, Any]] = []
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        finder, labels = search(tracker, [painted(scene, 1)], frames, on_event=lambda _, **facts: events.append(facts))
        assert finder.before(Frame(back, 2)) is None
        finder.after(replace(labels[1], index=2, states={1: "lost"}))
        # Other objects may be followed meanwhile, so not every frame is searched.
        asked = [finder.before(Frame(back, number)) for number in range(3, 7)]
    masks = [mask for mask in asked if mask is not None]
    assert len(masks) == 1
    assert region_iou(masks[0], truth, (1,))[0] > 0.5
    assert [(facts["index"], facts["again"]) for facts in events] == [(0, False), (3, True)]


def test_one_object_is_not_followed_twice(scene: Scene, engine: Engine, preset: str) -> None:
    twice = [painted(scene, 1), painted(scene, 1, frame=2)]
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        _, labels = search(tracker, twice, list(scene.frames[4:9]))
    assert all(len(one.object_ids) == 1 for one in labels)


def test_an_object_that_was_removed_is_not_searched_again(scene: Scene, engine: Engine, preset: str) -> None:
    with cw.Tracker.open(shipped_bundle(), engine, preset, workers=1) as tracker:
        finder, labels = search(tracker, [painted(scene, 1, 2)], [scene.frames[1]])
        assert labels[0].object_ids == (1, 2)
        tracker.remove(2)
        for number in range(2, 9):
            frame = Frame(scene.frames[number], number)
            labels.append(tracker.step(frame, finder.before(frame)))
            finder.after(labels[-1])
    assert all(one.object_ids == (1,) for one in labels[1:])


def test_a_target_serves_every_encoder(scene: Scene, elsewhere: Scene, engine: Engine, preset: str) -> None:
    """Features are not kept but computed, so that those of another encoder cannot be mixed up with them."""

    class Turned:
        """The same encoder with its channels in another order: as another one, its features match none but its own."""

        name = "turned"

        def run(self, frame: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(-engine.run(frame)[::-1])

        def close(self) -> None:
            pass

    pixels, _ = another_day(scene, elsewhere, 1, 9)
    found = []
    for one in (engine, Turned()):
        with cw.Tracker.open(shipped_bundle(), one, workers=1) as tracker:
            found.append(search(tracker, [painted(scene, 1)], [pixels])[1][0].ids)
    assert found[0].any()
    np.testing.assert_array_equal(found[0], found[1])


def test_an_object_that_cannot_be_found_is_named(scene: Scene, engine: Engine, said: list[str]) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:30, 30:40] = 1
    with cw.Tracker.open(shipped_bundle(), engine, workers=1) as tracker:
        search(tracker, [Target((TargetFrame(scene.frames[0], mask),), {1: "crumb"})], list(scene.frames[:2]))
    assert [line for line in said if "too small" in line] == [
        "crumb (object 1) covers too few cells of its target picture, or nearly all: it cannot be searched"
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[np.ndarray]], Path]:
    def folder(name: str, frames: Sequence[np.ndarray]) -> Path:
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(frames):
            Image.fromarray(pixels).save(tmp_path / name / f"{number:05d}.png")
        return tmp_path / name

    return folder


def test_a_session_keeps_a_target_and_another_starts_from_it(
    tmp_path: Path, scene: Scene, elsewhere: Scene, write: Callable[..., Path]
) -> None:
    mask = np.where(scene.masks[0] == 1, scene.masks[0], 0).astype(np.uint8)
    kept = tmp_path / "dog.target"
    Session(write("one", scene.frames[:2]), mask, [], replace(OPTIONS, save_target=kept)).run()
    target = read_target(kept)
    assert dict(target.names) == {1: "dog"}
    np.testing.assert_array_equal(target.frames[0].pixels, scene.frames[0])
    np.testing.assert_array_equal(target.frames[0].mask, mask)

    frames = [*elsewhere.frames[:2], *(another_day(scene, elsewhere, 1, number)[0] for number in (9, 10))]
    out = tmp_path / "out.jsonl"
    session = Session(write("two", frames), None, [out, tmp_path / "masks"], replace(OPTIONS, targets=(kept,)))
    result = session.run()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["states"] for line in lines] == [*2 * [{"1": "searching"}], *2 * [{"1": "ok"}]]
    assert [line["objects"] == {} for line in lines] == [True, True, False, False]
    assert len(list((tmp_path / "masks").glob("*.png"))) == 4
    assert result["targets"] == {"1": {"name": "dog", "found_at": 2}}
    assert (result["tracked"], result["written"]) == (4, 4)


def test_an_object_that_left_is_lost_and_found_again(tmp_path: Path, scene: Scene, write: Callable[..., Path]) -> None:
    """It is in frames 0 to 3, away to frame 13, and comes back at another place."""
    background = render_scene(20, *SIZE, objects=2, seed=3).frames
    frames, truths = [], []
    for number, place in enumerate(background):
        picture, inside = scene.frames[min(number, 15)], scene.masks[min(number, 15)] == 1
        if number >= 14:
            picture, inside = np.roll(picture, 90, axis=1), np.roll(inside, 90, axis=1)
        elif number >= 4:
            inside = np.zeros_like(inside)
        frames.append(np.where(inside[..., None], picture, place))
        truths.append(inside.astype(np.uint8))
    events: list[tuple[int, bool]] = []

    def told(event: str, **facts: Any) -> None:
        if event == "target_found":
            events.append((facts["index"], facts["again"]))

    options = replace(OPTIONS, targets=(painted(scene, 1),), confidence=True, preset="edge")
    out = tmp_path / "out.jsonl"
    Session(write("film", frames), None, [out, tmp_path / "masks"], options, on_event=told).run()
    states = [json.loads(line)["states"]["1"] for line in out.read_text().splitlines()]
    assert states[:4] == 4 * ["ok"]
    assert states[7:14] == 7 * ["lost"]
    assert states[18:] == 2 * ["ok"]
    (first, again) = events
    assert first == (0, False)
    assert again[1]
    # A search of what is lost comes with every fourth frame.
    assert 14 <= again[0] <= 17
    for number in (again[0], 19):
        assert region_iou(read_mask(tmp_path / "masks" / f"{number:05d}.png"), truths[number], (1,))[0] > 0.6


def test_corrections_join_the_target_and_what_was_found_does_not(
    tmp_path: Path, scene: Scene, write: Callable[..., Path]
) -> None:
    start, kept = tmp_path / "start.target", tmp_path / "more.target"
    write_target(start, painted(scene, 1))
    (tmp_path / "fix").mkdir()
    write_mask(tmp_path / "fix" / "mask.png", np.where(scene.masks[3] == 2, scene.masks[3], 0).astype(np.uint8))
    (tmp_path / "commands").write_text(json.dumps({"mask": "fix/mask.png", "index": 2}) + "\n")
    options = replace(OPTIONS, targets=(start,), save_target=kept, control=tmp_path / "commands")
    Session(write("film", scene.frames[1:5]), None, [], options).run()
    target = read_target(kept)
    assert len(target.frames) == 2
    np.testing.assert_array_equal(target.frames[0].pixels, scene.frames[0])
    np.testing.assert_array_equal(target.frames[1].pixels, scene.frames[3])
    # The object that was followed but not painted here is neither object nor background.
    assert set(np.unique(target.frames[1].mask)) == {0, 2, 255}
    assert dict(target.names) == {1: "thing 1", 2: "more 2"}


def test_snapshots_wait_for_the_first_object(tmp_path: Path, elsewhere: Scene, write: Callable[..., Path]) -> None:
    write_target(tmp_path / "t", painted(render_scene(1, *SIZE, seed=7), 1))
    options = replace(OPTIONS, targets=(tmp_path / "t",), snapshot=tmp_path / "s", snapshot_every=0.0)
    result = Session(write("film", elsewhere.frames[:3]), None, [], options).run()
    assert result["tracked"] == 3
    assert not (tmp_path / "s").exists()


def test_a_run_goes_on_with_its_targets(
    tmp_path: Path, scene: Scene, elsewhere: Scene, write: Callable[..., Path]
) -> None:
    write_target(tmp_path / "t", painted(scene, 1))
    frames = [elsewhere.frames[0], *(another_day(scene, elsewhere, 1, number)[0] for number in (9, 10, 11, 12))]
    film = write("film", frames)
    options = replace(OPTIONS, targets=(tmp_path / "t",))
    Session(film, None, [tmp_path / "whole.jsonl"], options).run()
    parts = replace(options, snapshot=tmp_path / "s", resume=True)
    Session(film, None, [tmp_path / "parts.jsonl"], replace(parts, max_frames=3)).run()
    Session(film, None, [tmp_path / "parts.jsonl"], parts).run()
    kept = ("index", "objects", "states")
    whole, parted = (
        [{name: json.loads(line)[name] for name in kept} for line in (tmp_path / name).read_text().splitlines()]
        for name in ("whole.jsonl", "parts.jsonl")
    )
    assert whole == parted
    assert [line["states"]["1"] for line in whole] == ["searching", *4 * ["ok"]]


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, scene: Scene) -> None:
    (tmp_path / "there.target").write_text("precious")
    joints = FrameJoints(("a",), np.array([[3.0, 4.0]]))
    wrong: list[tuple[dict[str, Any], Any, str]] = [
        ({"save_target": tmp_path / "there.target"}, scene.masks[0], "add --overwrite"),
        ({"save_target": tmp_path}, scene.masks[0], "must be a file"),
        ({"save_target": tmp_path / "no" / "t.target"}, scene.masks[0], "folder that exists"),
        ({"save_target": tmp_path / "t.png"}, scene.masks[0], "must end in .target: .*t.target"),
        ({"save_target": tmp_path / "t.target"}, joints, "joints"),
    ]
    for options, prompt, said in wrong:
        with pytest.raises(SettingError, match=said):
            Session("film.mp4", prompt, [], replace(OPTIONS, **options))
    with pytest.raises(TargetError, match="no such file"):
        Session("film.mp4", None, [], replace(OPTIONS, targets=(tmp_path / "none",)))
    with pytest.raises(SettingError, match="--target FILE"):
        Session("film.mp4", None, [], OPTIONS)
    assert (tmp_path / "there.target").read_text() == "precious"
