"""Frames that are held for painting, and their drafts. Drafts are kept on the disk."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.files import atomic_write
from crwedge.core.masks import read_label_ids, write_mask
from crwedge.core.pictures import read_picture
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.web.pictures import png

FRAME_ID = re.compile(r"[0-9a-f]{1,16}")
_IN_MEMORY = 8


class FrameGoneError(UserError):
    """A frame is not held any longer."""


@dataclass(frozen=True)
class HeldFrame:
    """A frame that stays as it is while it is painted on."""

    id: str
    frame: Frame
    labels: NDArray[np.uint8] | None = None
    """(H, W) ids that were known when it was held."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.frame.image.shape[0], self.frame.image.shape[1]


class HeldFrames:
    """The last few held frames in memory, and on the disk every one that was painted on.

    Args:
        folder: `ID/frame.png`, `ID/draft.png`, `ID/facts.json`, `draft.json`.
        most: painted frames that are kept; the oldest are dropped.
    """

    def __init__(self, folder: Path, most: int = 1000) -> None:
        self._folder, self._most = folder, most
        self._recent: OrderedDict[str, HeldFrame] = OrderedDict()
        self._lock = threading.RLock()
        self.current: str | None = None
        """The frame that was painted on last."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads((folder / "draft.json").read_text())["frame_id"]
            self.current = found if isinstance(found, str) and self.has_draft(found) else None

    def hold(self, frame_id: str, frame: Frame, labels: NDArray[np.uint8] | None) -> HeldFrame:
        """Hold a frame under an id of hexadecimal digits."""
        held = HeldFrame(frame_id, frame, labels)
        with self._lock:
            self._recent[frame_id] = held
            self._recent.move_to_end(frame_id)
            while len(self._recent) > _IN_MEMORY:
                self._recent.popitem(last=False)
        return held

    def get(self, frame_id: str) -> HeldFrame:
        """A held frame.

        Raises:
            FrameGoneError: it is not held any longer.
        """
        with self._lock:
            if (held := self._recent.get(frame_id)) is not None:
                return held
            folder = self._of(frame_id)
            try:
                facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
                image = read_picture(folder / "frame.png")
                labels = read_label_ids(folder / "labels.png") if (folder / "labels.png").exists() else None
            except (OSError, ValueError, UserError) as error:
                raise FrameGoneError(f"the frame {frame_id} is no longer held: freeze another") from error
            frame = Frame(image, int(facts["index"]), facts["pts"], name=facts["name"], time=facts["time"])
            return self.hold(frame_id, frame, labels)

    def has_draft(self, frame_id: str) -> bool:
        """Whether something was painted on a frame."""
        return (self._of(frame_id) / "draft.png").is_file()

    def draft(self, frame_id: str) -> NDArray[np.uint8] | None:
        """(H, W) ids that were painted on a frame; None where there are none."""
        path = self._of(frame_id) / "draft.png"
        with self._lock:
            return read_label_ids(path) if path.is_file() else None

    def paint(self, held: HeldFrame, ids: NDArray[np.uint8]) -> None:
        """Keep painted ids (H, W) of a held frame, on the disk, whole or not at all."""
        folder, frame = self._of(held.id), held.frame
        with self._lock:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "facts.json").exists():
                with atomic_write(folder / "frame.png") as file:
                    file.write(png(frame.image))
                if held.labels is not None:
                    write_mask(folder / "labels.png", held.labels)
                facts = {"index": frame.index, "pts": frame.pts, "name": frame.name, "time": frame.time}
                with atomic_write(folder / "facts.json") as file:
                    file.write(json.dumps(facts).encode())
            write_mask(folder / "draft.png", ids)
            self._mark(held.id)
            self._make_room()

    def done(self, frame_id: str) -> None:
        """The work on a frame was applied: it is not the current one any longer. Its draft stays."""
        with self._lock:
            if self.current == frame_id:
                self._mark(None)

    def _mark(self, frame_id: str | None) -> None:
        self.current = frame_id
        with atomic_write(self._folder / "draft.json") as file:
            file.write(json.dumps({"frame_id": frame_id}).encode())

    def _make_room(self) -> None:
        painted = sorted(self._folder.glob("*/draft.png"), key=lambda path: path.stat().st_mtime)
        for path in painted[: max(0, len(painted) - self._most)]:
            shutil.rmtree(path.parent, ignore_errors=True)

    def _of(self, frame_id: str) -> Path:
        if not FRAME_ID.fullmatch(frame_id):
            raise FrameGoneError("a frame's id has at most 16 hexadecimal digits")
        return self._folder / frame_id
