"""The labels of a film on the disk: what was painted, what was propagated, and which of two results counts."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.files import atomic_write
from crwedge.core.masks import VOID, object_ids, read_label_ids, write_mask


class FilmLabels:
    """Ids (H, W) of each frame that has some. Frames take the result of the painted frame that is nearest.

    Args:
        folder: `labels/NUMBER.png`, and `labels.json`: painted frames and, for others, the distance to their painted frame.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._facts = folder / "labels", folder / "labels.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._numbers = {int(p.stem) for p in self._folder.glob("*.png") if re.fullmatch(r"\d+", p.stem)}
        self._painted: set[int] = set()
        self.objects: tuple[int, ...] = ()
        """Ids of the objects that were painted somewhere."""
        self._distance: dict[int, int] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            facts = json.loads(self._facts.read_text())
            self._painted = {int(n) for n in facts["painted"]} & self._numbers
            self._distance = {int(n): int(d) for n, d in facts["distance"].items()}
            self.objects = tuple(int(i) for i in facts["objects"])

    @property
    def numbers(self) -> list[int]:
        """Of the frames that have labels, in order."""
        with self._lock:
            return sorted(self._numbers)

    @property
    def painted(self) -> list[int]:
        """Numbers of the frames that were painted, in order."""
        with self._lock:
            return sorted(self._painted)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last number of each run of labelled frames."""
        found: list[tuple[int, int]] = []
        for number in self.numbers:
            if found and found[-1][1] == number - 1:
                found[-1] = found[-1][0], number
            else:
                found.append((number, number))
        return found

    def path(self, number: int) -> Path:
        """Where the labels of a frame are, or would be."""
        return self._folder / f"{number:05d}.png"

    def get(self, number: int) -> NDArray[np.uint8] | None:
        """Ids (H, W) of a frame; None where there are none."""
        with self._lock:
            return read_label_ids(self.path(number)) if number in self._numbers else None

    def paint(self, number: int, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Painted ids (H, W) of a frame are its labels, as they are; only where they are void it keeps what it had.

        Returns:
            The labels of the frame.
        """
        with self._lock:
            before = self.get(number)
            ids = np.where(mask == VOID, 0 if before is None else before, mask).astype(np.uint8)
            write_mask(self.path(number), ids)
            self._numbers.add(number)
            self._painted.add(number)
            self.objects = tuple(sorted({*self.objects, *object_ids(ids)}))
            self.save()
            return ids

    def offer(self, number: int, ids: NDArray[np.uint8], distance: int) -> bool:
        """Take propagated ids (H, W), unless a nearer painted frame has told already.

        Args:
            number: of the frame.
            ids: its labels.
            distance: frames between it and the painted frame that they come from.

        Returns:
            Whether they were taken.
        """
        with self._lock:
            known = number in self._numbers
            if number in self._painted or (known and self._distance.get(number, distance) < distance):
                return False
            write_mask(self.path(number), ids)
            self._numbers.add(number)
            self._distance[number] = distance
            return True

    def remove(self, object_id: int) -> None:
        """Remove an object from every frame; a painted frame without any object left no longer counts as painted."""
        with self._lock:
            for number in self.numbers:
                ids = self.get(number)
                assert ids is not None
                if (ids == object_id).any():
                    ids = np.where(ids == object_id, 0, ids).astype(np.uint8)
                    write_mask(self.path(number), ids)
                    if not object_ids(ids):
                        self._painted.discard(number)
            self.objects = tuple(i for i in self.objects if i != object_id)
            self.save()

    def save(self) -> None:
        """Write what is known beside the pictures."""
        with self._lock, atomic_write(self._facts) as file:
            facts = {"painted": sorted(self._painted), "distance": self._distance, "objects": list(self.objects)}
            file.write(json.dumps(facts).encode())
