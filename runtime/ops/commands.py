"""Commands to a stream that runs: from a program, a file or a broker, each carried out with the frame it belongs to."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SettingError, UserError
from crwedge.core.labels import LabelMap
from crwedge.core.masks import check_mask, read_mask, resize_mask
from crwedge.runtime.events import silent
from crwedge.runtime.observer import Observer
from crwedge.runtime.ops.command import Command, CommandError, parse_command
from crwedge.runtime.sources.frame import Frame

if TYPE_CHECKING:
    from crwedge.runtime.tracker import Tracker

_LONGEST = 65536
"""Bytes of a line; a longer one is not a command."""


class Commands(Observer):
    """Carries out each command once, in order, with the frame it belongs to.

    A command that cannot be carried out is reported and skipped; the stream goes on. A command that waits for its frame
    holds up those after it. Nothing is read before the first objects are tracked, unless frames are previewed.

    Args:
        tracker: the tracker whose objects change.
        readers: where commands come from, each in order.
        index: `index` of the next frame in the outputs.
        resize: whether masks of another size are resized to the frame.
        on_event: called for each command: `control_done` or `control_refused`.
        preview: whether nothing may be followed: the first mask may come as a command, and `forget` is allowed.
    """

    def __init__(
        self,
        tracker: Tracker,
        readers: Sequence[CommandReader],
        index: int = 0,
        resize: bool = False,
        on_event: Callable[..., None] = silent,
        preview: bool = False,
    ) -> None:
        self._tracker, self._readers, self._index, self._resize = tracker, readers, index, resize
        self._on_event, self._preview = on_event, preview

    def before(self, frame: Frame) -> NDArray[np.uint8] | None:
        """Carry out the commands that are due; returns the mask of the first one that has one."""
        size = frame.image.shape[0], frame.image.shape[1]
        for reader in self._readers if self._tracker.object_ids or self._preview else ():
            if (mask := self._take(reader, size)) is not None:
                return mask
        return None

    def after(self, labels: LabelMap) -> None:
        """Count frames."""
        self._index = labels.index + 1

    def _take(self, reader: CommandReader, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        while True:
            mask = None
            try:
                command = reader.peek()
                if command is None or (command.index is not None and command.index > self._index):
                    return None
                if command.index is not None and command.index < self._index:
                    raise CommandError(f"frame {command.index} has passed; the next one is {self._index}")
                mask = self._carry_out(command, size)
            except UserError as error:
                self._on_event("control_refused", command=reader.text[:200], reason=str(error))
                reader.done(self._index, error)
            else:
                self._on_event("control_done", command=reader.text[:200], index=self._index)
                reader.done(self._index)
            if mask is not None:
                return mask

    def _carry_out(self, command: Command, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        if command.forget and not self._preview:
            raise CommandError("this run cannot stop following: remove objects, or stop the run")
        if command.mask is None:
            searched = self._tracker.searched
            # Where nothing may be followed, the last objects can be removed too.
            if command.forget:
                self._tracker.reset(keep_index=True)
            elif self._preview and set(command.remove) - set(searched) == set(self._tracker.object_ids):
                self._tracker.reset(keep_index=True)
                self._tracker.look_for(*(i for i in searched if i not in command.remove))
            else:
                self._tracker.remove(*command.remove)
            return None
        if self._tracker.joint_names and not command.forget:
            raise MaskError("joints are tracked, and a mask cannot correct them; they can be removed by number")
        past = command.frame
        if past is not None:
            size = past.image.shape[0], past.image.shape[1]
        mask = read_mask(command.mask) if isinstance(command.mask, Path) else command.mask
        mask = check_mask(resize_mask(mask, size) if self._resize and mask.shape != size else mask, size)
        if command.forget:
            self._tracker.reset(keep_index=True)
        if past is None:
            return mask
        self._tracker.step(past, mask, past=True)
        return None


class CommandReader(Protocol):
    """Where commands come from."""

    text: str
    """The last command of `peek`, for events."""

    def peek(self) -> Command | None:
        """The next command, which stays until `done`; None when there is none. CommandError where it is not a command."""
        ...

    def done(self, index: int, error: UserError | None = None) -> None:
        """Pass to the next command: this one was carried out with frame `index`, or refused with `error`."""
        ...


class CommandQueue:
    """Commands of a program, from any thread."""

    def __init__(self) -> None:
        self.text = ""
        """The last command of `peek`, for events."""
        self._waiting: deque[tuple[Command, Future[int]]] = deque()
        self._closed = False

    def submit(self, command: Command) -> Future[int]:
        """Add a command.

        Returns:
            A future of the `index` of the frame it was carried out with. It raises the UserError of a command that was
            refused, and is cancelled when the stream ends before.
        """
        future: Future[int] = Future()
        self._waiting.append((command, future))
        if self._closed:
            self.close()
        return future

    def peek(self) -> Command | None:
        """The next command, which stays until `done`; None when there is none."""
        if not self._waiting:
            return None
        command = self._waiting[0][0]
        self.text = command.text
        return command

    def done(self, index: int, error: UserError | None = None) -> None:
        """Pass to the next command: this one was carried out with frame `index`, or refused with `error`."""
        future = self._waiting.popleft()[1]
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(index)
        else:
            future.set_exception(error)

    def close(self) -> None:
        """Cancel commands that wait, and all later ones."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft()[1].cancel()


class CommandFile:
    """Commands from a file that lines are added to, one JSON object a line.

    A line counts once its line end is written. A file that becomes shorter is not read until it is longer again.

    Args:
        path: the file; it need not exist yet. Lines that it already has are old and skipped, except those that name
            their frame.
        on_event: called when the file becomes shorter.

    Raises:
        SettingError: it is not a regular file, or its folder does not exist.
    """

    def __init__(self, path: str | Path, on_event: Callable[..., None] = silent) -> None:
        self.path = Path(path)
        self.text = ""
        self._on_event = on_event
        if not self.path.parent.is_dir():
            raise SettingError(f"--set control={path}: there is no folder {self.path.parent}")
        if self.path.exists() and not stat.S_ISREG(self.path.stat().st_mode):
            raise SettingError(f"--set control={path} is not a regular file")
        self._shorter = False
        self._read, self._old = 0, self._length()
        self._end = 0

    def state(self) -> dict[str, int]:
        """Bytes of the file that are done with, and that are old."""
        return {"done": self._read, "old": self._old}

    def restore(self, state: Mapping[str, int]) -> None:
        """Continue from a snapshot: no command is lost, none is carried out twice."""
        self._read, self._old = state["done"], state["old"]

    def peek(self) -> Command | None:
        """See `CommandQueue.peek`; CommandError where a line is not a command."""
        while (line := self._line()) is not None:
            self.text, self._end = line
            command = parse_command(self.text, self.path.parent)
            if command.index is not None or self._end > self._old:
                return command
            self._read = self._end
        return None

    def done(self, index: int, error: UserError | None = None) -> None:
        """See `CommandQueue.done`."""
        self._read = self._end

    def _line(self) -> tuple[str, int] | None:
        """The next whole line that is not blank, and where it ends."""
        if not self.path.exists():
            return None
        length = self._length()
        if length < self._read and not self._shorter:
            # Perhaps an editor that is saving. Reading from the start would carry out every old command again.
            reason = f"{self.path} became shorter; only add lines to it"
            self._on_event("control_refused", command="", reason=reason)
        self._shorter = length < self._read
        if length <= self._read:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                found = file.read(_LONGEST)
        except OSError:
            return None
        while (at := found.find(b"\n")) >= 0:
            if found[:at].strip():
                return found[:at].decode("utf-8", "replace").strip(), self._read + at + 1
            self._read, found = self._read + at + 1, found[at + 1 :]
        if len(found) == _LONGEST:
            return found.decode("utf-8", "replace"), self._read + _LONGEST
        return None

    def _length(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0
