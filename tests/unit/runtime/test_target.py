"""Target files: what is written is read, and nothing else is taken for a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crwedge.core.errors import UserError
from crwedge.core.tensors import write_tensors
from crwedge.runtime.target import (
    FORMAT,
    MOST_FRAMES,
    Target,
    TargetError,
    TargetFrame,
    join_targets,
    read_target,
    small_frame,
    write_target,
)


def painted(*ids: int, size: tuple[int, int] = (16, 24)) -> TargetFrame:
    rng = np.random.default_rng(3)
    mask = np.zeros(size, np.uint8)
    for number, i in enumerate(ids):
        mask[number] = i
    return TargetFrame(rng.integers(0, 256, (*size, 3), np.uint8), mask)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    target = Target((painted(1, 7), painted(1, 255, size=(9, 30))), {1: "dog", 7: "é 猫"})
    write_target(tmp_path / "dog.target", target)
    read = read_target(tmp_path / "dog.target")
    assert (read.ids, dict(read.names)) == ((1, 7), {1: "dog", 7: "é 猫"})
    for one, other in zip(read.frames, target.frames, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.mask, other.mask)
    assert [path.name for path in tmp_path.iterdir()] == ["dog.target"]


def test_pictures_are_kept_small() -> None:
    frame = small_frame(np.zeros((1080, 1920, 3), np.uint8), np.full((1080, 1920), 3, np.uint8))
    assert (frame.pixels.shape, frame.mask.shape) == ((480, 853, 3), (480, 853))
    assert set(np.unique(frame.mask)) == {3}


GOOD: dict[str, Any] = {"frames": 1, "names": {"1": "dog"}}


@pytest.mark.parametrize(
    ("facts", "tensors"),
    [
        ({**GOOD, "frames": 2}, {}),
        ({**GOOD, "frames": 0}, {}),
        ({**GOOD, "frames": MOST_FRAMES + 1}, {}),
        ({**GOOD, "frames": "1"}, {}),
        ({**GOOD, "names": ["dog"]}, {}),
        ({**GOOD, "names": {"dog": 1}}, {}),
        ([], {}),
        (None, {}),
        (GOOD, {"picture.0": np.zeros((16, 24, 3), np.float32)}),
        (GOOD, {"picture.0": np.zeros((16, 25, 3), np.uint8)}),
        (GOOD, {"mask.0": np.zeros((16, 24), np.uint8)}),
        (GOOD, {"mask.0": np.full((16, 24), 255, np.uint8)}),
        (GOOD, {"mask.0": np.ones((16, 24, 1), np.uint8)}),
        (GOOD, {"mask.0": np.ones((0, 24), np.uint8), "picture.0": np.ones((0, 24, 3), np.uint8)}),
        (GOOD, {"mask.0": np.ones((4, 24), np.uint8), "picture.0": np.ones((4, 24, 3), np.uint8)}),
        (GOOD, {"mask.0": np.array(7, np.uint8), "picture.0": np.ones(3, np.uint8)}),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, facts: Any, tensors: dict[str, np.ndarray]) -> None:
    whole = {"picture.0": painted(1).pixels, "mask.0": painted(1).mask, **tensors}
    write_tensors(tmp_path / "t", whole, {"format": FORMAT, "target": json.dumps(facts)})
    with pytest.raises(TargetError, match="make it again with --save-target"):
        read_target(tmp_path / "t")


@pytest.mark.parametrize(
    "words", [{}, {"format": "crwedge-snapshot-2"}, {"format": FORMAT}, {"format": FORMAT, "target": "{"}]
)
def test_other_files_are_refused(tmp_path: Path, words: dict[str, str]) -> None:
    write_tensors(tmp_path / "t", {"picture.0": painted(1).pixels}, words)
    with pytest.raises(TargetError):
        read_target(tmp_path / "t")


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no such file; make it with --save-target"):
        read_target(tmp_path / "dog.target")


def test_names_of_a_file_stay_short_and_belong_to_objects(tmp_path: Path) -> None:
    facts = {"frames": 1, "names": {"1": "x" * 100_000, "9": "nobody", "-4": "nobody"}}
    write_tensors(
        tmp_path / "t",
        {"picture.0": painted(1).pixels, "mask.0": painted(1).mask},
        {"format": FORMAT, "target": json.dumps(facts)},
    )
    names = read_target(tmp_path / "t").names
    assert list(names) == [1]
    assert len(names[1]) < 1000


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6), cut=st.floats(0, 1))
def test_a_damaged_file_is_a_target_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]], cut: float
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "t"
    write_target(path, Target((painted(1, 2),), {1: "a", 2: "b"}))
    data = bytearray(path.read_bytes())
    for where, value in changes:
        # Most of what can go wrong is in the header.
        data[int(where**3 * (len(data) - 1))] = value
    path.write_bytes(bytes(data[: max(1, int((1 - cut**4) * len(data)))]))
    refused = None
    try:
        target = read_target(path)
    except UserError as error:
        refused = error.args[0]
    if refused is not None:
        assert "\n" not in refused
        return
    assert target.ids
    assert all(frame.pixels.shape == (*frame.mask.shape, 3) for frame in target.frames)


def test_objects_of_several_targets_get_ids_of_their_own() -> None:
    one, two = Target((painted(1, 2),), {1: "dog", 2: "cat"}), Target((painted(1, 3),), {1: "cow", 3: "hen"})
    joined, names = join_targets([one, two], used=[4])
    assert names == {1: "dog", 2: "cat", 5: "cow", 3: "hen"}
    assert [target.ids for target in joined] == [(1, 2), (3, 5)]
    assert set(np.unique(joined[1].frames[0].mask)) == {0, 3, 5}
    with pytest.raises(TargetError, match="254"):
        join_targets([one], used=range(1, 255))
