"""Commands from a file: once each, in order, never half written, and what cannot be followed is passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import MaskError, SettingError
from crwedge.core.masks import write_mask
from crwedge.runtime.events import silent
from crwedge.runtime.ops.command import Command, CommandError, parse_command
from crwedge.runtime.ops.commands import CommandFile, CommandQueue, Commands

SIZE = (8, 12)


class Objects:
    """A stand-in for a tracker: knows ids only."""

    def __init__(self, *ids: int) -> None:
        self.object_ids: tuple[int, ...] = ids
        self.joint_names: tuple[str, ...] = ()
        self.searched: tuple[int, ...] = ()

    def remove(self, *ids: int) -> None:
        if set(ids) - set(self.object_ids):
            raise MaskError("there is no object to remove")
        self.object_ids = tuple(i for i in self.object_ids if i not in ids)


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, event: str, **facts: str) -> None:
        self.events.append((event, facts.get("reason", "")))


def carrier(objects: Any, reader: Any, index: int = 0, resize: bool = False, told: Any = silent) -> Commands:
    return Commands(objects, [reader], index, resize, told)


class Control:
    """A command file and what carries out its commands, frame by frame."""

    def __init__(self, path: Path, told: Told | None = None, state: dict[str, int] | None = None) -> None:
        self.told = told or Told()
        self.file = CommandFile(path, self.told)
        if state is not None:
            self.file.restore(state)

    def take(self, index: int, objects: Objects, resize: bool = False) -> np.ndarray | None:
        return carrier(objects, self.file, index, resize, self.told).before(
            cw.Frame(np.zeros((*SIZE, 3), np.uint8), index)
        )


def painted(folder: Path, name: str, object_id: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[2:5, 3:6] = object_id
    write_mask(folder / name, mask)
    return mask


def add(path: Path, *commands: object) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(command) + "\n" for command in commands)


def test_each_command_once_and_one_mask_a_frame(tmp_path: Path) -> None:
    path, told, objects = tmp_path / "c.jsonl", Told(), Objects(1, 2, 3)
    first, second = painted(tmp_path, "a.png", 4), painted(tmp_path, "b.png", 5)
    control = Control(path, told)
    assert control.take(1, objects) is None
    add(path, {"remove": [2]}, {"mask": "a.png"}, {"mask": "b.png"}, {"remove": [3]})
    np.testing.assert_array_equal(control.take(2, objects), first)
    assert set(objects.object_ids) == {1, 3}
    np.testing.assert_array_equal(control.take(3, objects), second)
    assert control.take(4, objects) is None
    assert set(objects.object_ids) == {1}
    assert control.take(5, objects) is None
    assert told.events == [("control_done", "")] * 4


def test_a_half_written_line_is_never_taken(tmp_path: Path) -> None:
    path, told, objects = tmp_path / "c.jsonl", Told(), Objects(1, 2)
    control = Control(path, told)
    line = b'\n  \n{"remove": [2]}\n'
    for at in range(len(line)):
        assert set(objects.object_ids) == {1, 2}
        with path.open("ab") as file:
            file.write(line[at : at + 1])
        assert control.take(at, objects) is None
    assert set(objects.object_ids) == {1}
    assert told.events == [("control_done", "")]


def test_what_stood_there_before_is_old_unless_it_names_its_frame(tmp_path: Path) -> None:
    path, objects = tmp_path / "c.jsonl", Objects(1, 2, 3, 4)
    add(path, {"remove": [1]}, {"remove": [2], "index": 3})
    with path.open("a") as file:
        file.write('{"remove": [3]')  # begun before the run, ended in it: not old
    control = Control(path)
    with path.open("a") as file:
        file.write("}\n")
    for index in range(1, 3):
        assert control.take(index, objects) is None
        assert set(objects.object_ids) == {1, 2, 3, 4}
    control.take(3, objects)
    assert set(objects.object_ids) == {1, 4}


def test_it_goes_on_where_a_snapshot_was(tmp_path: Path) -> None:
    path, objects = tmp_path / "c.jsonl", Objects(1, 2, 3, 4)
    control = Control(path)
    add(path, {"remove": [1]}, {"remove": [2], "index": 9})
    control.take(5, objects)
    assert set(objects.object_ids) == {2, 3, 4}
    state = json.loads(json.dumps(control.file.state()))
    add(path, {"remove": [3]})
    for one in (control, Control(path, None, state)):
        again = Objects(2, 3, 4)
        assert one.take(8, again) is None
        assert set(again.object_ids) == {2, 3, 4}
        one.take(9, again)
        assert set(again.object_ids) == {4}


def test_a_file_that_an_editor_saves_is_not_followed_twice(tmp_path: Path) -> None:
    path, told, objects = tmp_path / "c.jsonl", Told(), Objects(1, 2, 3)
    control = Control(path, told)
    add(path, {"remove": [2]})
    control.take(1, objects)
    before = path.read_text()
    objects = Objects(1, 2, 3)
    # Gone for a moment, then empty, then half of it, then all and one line more.
    path.unlink()
    for index, text in enumerate(("", before[:7], before, before + '{"remove": [3]}\n')):
        control.take(index, objects)
        path.write_text(text)
        control.take(index, objects)
    assert set(objects.object_ids) == {1, 2}
    assert [event for event, _ in told.events] == ["control_done", "control_refused", "control_done"]
    assert "became shorter" in told.events[1][1]


def test_what_cannot_be_followed_is_told_and_passed_over(tmp_path: Path) -> None:
    path, told, objects = tmp_path / "c.jsonl", Told(), Objects(1, 2)
    painted(tmp_path, "big.png", 1, (16, 24))
    whole = (tmp_path / "big.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    control = Control(path, told)
    with path.open("ab") as file:
        file.write(b"no json\n" + b"[" * 60000 + b"\n" + b"\xff\xfe\n" + b"x" * 70000 + b"\n")
    refused = [
        {"remove": [7]},
        {"remove": [2], "index": 3},
        {"mask": "none.png"},
        {"mask": "half.png"},
        {"mask": "big.png"},
    ]
    add(path, *refused)
    add(path, {"remove": [2]})
    assert control.take(4, objects) is None
    assert set(objects.object_ids) == {1}
    reasons = [reason for event, reason in told.events if event == "control_refused"]
    assert told.events[-1] == ("control_done", "")
    for word in ("there is no object", "frame 3 has passed", "no mask file", "cannot be read", "16x24"):
        assert sum(word in reason for reason in reasons) == 1, word
    assert sum("one JSON object" in reason for reason in reasons) == len(reasons) - len(refused)
    # Where masks are to be resized, that one is.
    add(path, {"mask": "big.png"})
    mask = control.take(5, objects, True)
    assert mask is not None
    assert mask.shape == SIZE


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"mask": 3}',
        '{"mask": "a.png", "remove": [1]}',
        '{"remove": 3}',
        '{"remove": []}',
        '{"remove": ["1"]}',
        '{"remove": [true]}',
        '{"remove": [1], "index": -1}',
        '{"remove": [1], "index": "2"}',
        '{"remove": [1], "when": 2}',
        '{"mask": null}',
    ],
)
def test_other_words_are_no_command(text: str) -> None:
    with pytest.raises(CommandError):
        parse_command(text, Path())


def test_what_can_be_no_control_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no folder"):
        CommandFile(tmp_path / "none" / "c.jsonl")
    with pytest.raises(SettingError, match="not a regular file"):
        CommandFile(tmp_path)


def test_a_program_is_told_what_became_of_its_commands(tmp_path: Path) -> None:
    told, objects, queue = Told(), Objects(), CommandQueue()
    mask = np.zeros(SIZE, np.uint8)
    mask[2:5, 3:6] = 4
    frame = cw.Frame(np.zeros((*SIZE, 3), np.uint8), 0)
    commands = carrier(objects, queue, 7, False, told)
    removed, refused, added = (queue.submit(c) for c in (Command(remove=(2,)), Command(remove=(9,)), Command(mask)))
    # Before anything is tracked there is nothing to change.
    assert commands.before(frame) is None
    assert not removed.done()
    objects.object_ids = (1, 2)
    np.testing.assert_array_equal(commands.before(frame), mask)
    assert set(objects.object_ids) == {1}
    assert (removed.result(0), added.result(0)) == (7, 7)
    with pytest.raises(MaskError, match="no object"):
        refused.result(0)
    assert [event for event, _ in told.events] == ["control_done", "control_refused", "control_done"]
    late = queue.submit(Command(remove=(1,)))
    queue.close()
    assert late.cancelled()
    assert queue.submit(Command(remove=(1,))).cancelled()


def test_a_mask_cannot_correct_joints(tmp_path: Path) -> None:
    objects = Objects(1)
    objects.joint_names = ("hand",)
    queue = CommandQueue()
    future = queue.submit(Command(np.ones(SIZE, np.uint8)))
    assert carrier(objects, queue).before(cw.Frame(np.zeros((*SIZE, 3), np.uint8), 0)) is None
    with pytest.raises(MaskError, match="joints"):
        future.result(0)
