"""Commands to a stream that runs: lines of JSON that somebody adds to a file."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError, UserError
from crwedge.core.masks import check_mask, read_mask
from crwedge.runtime.ops.events import silent

_LONGEST = 65536
"""Bytes of a line; what goes on without an end is no command."""

Size = tuple[int, int]
Fit = Callable[[NDArray[np.uint8], Size], NDArray[np.uint8]]


class ControlError(UserError):
    """A command that cannot be followed."""


class Followed(Protocol):
    """What a command changes: a `Tracker`."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects followed now."""
        ...

    def remove(self, *ids: int) -> None:
        """Follow some objects no longer."""
        ...


@dataclass(frozen=True)
class Command:
    """One line."""

    mask: Path | None
    """PNG of objects to add or correct, with the frame this comes with."""
    remove: tuple[int, ...]
    """Ids of objects to follow no longer, from that frame on."""
    index: int | None
    """`index` of that frame in the outputs; None for the next one."""


class Control:
    """Reads commands from a file that is added to, and carries each out once, in order.

    A line counts once its line end is there, so one that is half written is never taken. What cannot be followed is told
    and passed over; the stream goes on. A line that waits for its frame holds up those after it. A file that becomes shorter
    is not read until it is longer again.

    Args:
        path: the file; it need not exist yet.
        tell: told of each command: a word and its facts.
        state: where to go on, as a snapshot has it. By default the run is new: lines that stand in the file already are old
            and passed over, but for those that name their frame.

    Raises:
        SettingError: it is no file, or there is no folder for it.
    """

    def __init__(
        self, path: str | Path, tell: Callable[..., None] | None = None, state: Mapping[str, int] | None = None
    ) -> None:
        """Nothing is read yet."""
        self.path = Path(path)
        self._tell = silent if tell is None else tell
        if not self.path.parent.is_dir():
            raise SettingError(f"--control {path}: there is no folder {self.path.parent}")
        if self.path.exists() and not stat.S_ISREG(self.path.stat().st_mode):
            raise SettingError(f"--control {path} is no plain file")
        self._shorter = False
        self._done, self._old = (0, self._length()) if state is None else (state["done"], state["old"])

    def state(self) -> dict[str, int]:
        """Bytes of the file that are done with, and that are old."""
        return {"done": self._done, "old": self._old}

    def take(self, index: int, size: Size, followed: Followed, fit: Fit | None = None) -> NDArray[np.uint8] | None:
        """Carry out what is due before a frame.

        Args:
            index: of the frame in the outputs.
            size: (H, W) of the frame.
            followed: whose objects change.
            fit: brings a mask to the frame's size, where that is wanted.

        Returns:
            The mask that comes with the frame, if any; what stands after it in the file comes with later frames.
        """
        while (line := self._line()) is not None:
            text, end = line
            mask = None
            try:
                command = parse_command(text, self.path.parent)
                if command.index is None and end <= self._old:
                    self._done = end
                    continue
                if command.index is not None and command.index > index:
                    return None
                if command.index is not None and command.index < index:
                    raise ControlError(f"frame {command.index} has passed; the next one is {index}")
                mask = self._carry_out(command, size, followed, fit)
            except UserError as error:
                self._tell("control_refused", command=text[:200], reason=str(error))
            else:
                self._tell("control_done", command=text[:200], index=index)
            self._done = end
            if mask is not None:
                return mask
        return None

    def _carry_out(self, command: Command, size: Size, followed: Followed, fit: Fit | None) -> NDArray[np.uint8] | None:
        if command.mask is None:
            followed.remove(*command.remove)
            return None
        mask = read_mask(command.mask)
        return check_mask(fit(mask, size) if fit is not None else mask, size)

    def _line(self) -> tuple[str, int] | None:
        """The next whole line that is not blank, and where it ends."""
        if not self.path.exists():
            return None
        length = self._length()
        if length < self._done and not self._shorter:
            # An editor that is just saving, perhaps. To read from the start would follow every old command again.
            self._tell("control_refused", command="", reason=f"{self.path} became shorter; lines are only added to it")
        self._shorter = length < self._done
        if length <= self._done:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(self._done)
                found = file.read(_LONGEST)
        except OSError:
            return None
        while (at := found.find(b"\n")) >= 0:
            if found[:at].strip():
                return found[:at].decode("utf-8", "replace").strip(), self._done + at + 1
            self._done, found = self._done + at + 1, found[at + 1 :]
        if len(found) == _LONGEST:
            return found.decode("utf-8", "replace"), self._done + _LONGEST
        return None

    def _length(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


def parse_command(text: str, folder: Path) -> Command:
    """`{"mask": "fix.png"}` or `{"remove": [2]}`, either with `"index": 812`; a mask's path is relative to `folder`.

    Raises:
        ControlError: it is something else.
    """
    try:
        words = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"a command is one JSON object on one line ({error})") from error
    if not isinstance(words, dict) or len({"mask", "remove"} & words.keys()) != 1 or words.keys() - _WORDS:
        raise ControlError('a command is {"mask": "fix.png"} or {"remove": [2]}, either with "index": 812')
    mask, remove, index = words.get("mask"), words.get("remove", []), words.get("index")
    if mask is not None and not isinstance(mask, str):
        raise ControlError('"mask" is the path of a PNG')
    if not isinstance(remove, list) or not all(_whole(i) for i in remove) or (mask is None and not remove):
        raise ControlError('"remove" is a list of object ids')
    if index is not None and not (_whole(index) and index >= 0):
        raise ControlError('"index" is the number of a frame, from 0')
    return Command(None if mask is None else folder / mask, tuple(remove), index)


_WORDS = frozenset({"mask", "remove", "index"})


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
