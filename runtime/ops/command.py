"""Commands to a running stream: add, correct or remove objects, start again, follow nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.json_text import parse_json
from crwedge.runtime.sources.frame import Frame

_FORMS = '{"mask": "fix.png"}, {"remove": [2]}, either with "index": 812, or {"forget": true}'
_KEYS = frozenset({"mask", "remove", "forget", "index"})


class CommandError(UserError):
    """A command that cannot be carried out."""


@dataclass(frozen=True)
class Command:
    """One of `mask`, `remove` and `forget` is given; `forget` goes with a mask too."""

    mask: Path | NDArray[np.uint8] | None = None
    """Objects to add or correct: a mask file, or (H, W) ids of the frame's size."""
    remove: tuple[int, ...] = ()
    """Ids of objects to remove."""
    index: int | None = None
    """`index` of the frame in the outputs that it belongs to; None for the next one."""
    forget: bool = False
    """Stop following everything; with a mask, follow only the objects of the mask."""
    frame: Frame | None = None
    """The frame that the mask was painted on, where it is an older one: it joins the context. None: the next one."""

    @property
    def text(self) -> str:
        """What it asks for, for events."""
        if self.mask is not None:
            return "mask"
        return "forget" if self.forget else f"remove {list(self.remove)}"


def parse_command(text: str, folder: Path) -> Command:
    """Parse `{"mask": "fix.png"}` or `{"remove": [2]}`, either with `"index": 812`, or `{"forget": true}`.

    Args:
        text: one line of JSON.
        folder: what the path of a mask is relative to.

    Raises:
        CommandError: it is something else.
    """
    try:
        words = parse_json(text)
    except ValueError as error:
        raise CommandError(f"a command is one JSON object on one line ({error})") from error
    if (
        not isinstance(words, dict)
        or len({"mask", "remove", "forget"} & words.keys()) != 1
        or words.keys() - _KEYS
        or ("forget" in words and words != {"forget": True})
    ):
        raise CommandError(f"a command is {_FORMS}")
    mask, remove, index = words.get("mask"), words.get("remove", []), words.get("index")
    if mask is not None and not isinstance(mask, str):
        raise CommandError('"mask" is the path of a PNG')
    if "forget" in words:
        return Command(forget=True)
    if not isinstance(remove, list) or not all(_is_int(i) for i in remove) or (mask is None and not remove):
        raise CommandError('"remove" is a list of object ids')
    if index is not None and not (_is_int(index) and index >= 0):
        raise CommandError('"index" is the number of a frame, from 0')
    return Command(None if mask is None else folder / mask, tuple(remove), index)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
