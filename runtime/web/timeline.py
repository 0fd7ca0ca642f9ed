"""What is known of each object, frame by frame."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from crwedge.core.labels import LabelMap

MOST_FRAMES = 10_000


class Timeline:
    """State, confidence and area of each object for the newest 10,000 labelled frames."""

    def __init__(self) -> None:
        self._frames: deque[dict[str, Any]] = deque(maxlen=MOST_FRAMES)
        self._lock = threading.Lock()

    def add(self, labels: LabelMap, number: int) -> None:
        """Add a frame under its number."""
        pixels = np.bincount(labels.ids.reshape(-1), minlength=256)
        objects = {
            str(i): {
                "state": labels.states.get(i),
                "confidence": round(float(labels.confidence[i]), 4) if i in labels.confidence else None,
                "area": int(pixels[i]),
            }
            for i in {**dict.fromkeys(labels.object_ids), **labels.states}
        }
        with self._lock:
            self._frames.append({"index": number, "time": labels.time, "objects": objects})

    def since(self, index: int) -> list[dict[str, Any]]:
        """The frames after number `index`, in the order in which they were labelled."""
        with self._lock:
            return [frame for frame in self._frames if frame["index"] > index]

    @property
    def last(self) -> dict[str, Any]:
        """What is known of each object in the frame that was labelled last, by id as text."""
        with self._lock:
            found: dict[str, Any] = self._frames[-1]["objects"] if self._frames else {}
        return found

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._frames.clear()
