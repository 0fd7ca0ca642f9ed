"""Label maps as JSON Lines."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from crwedge.core.clock import utc_time
from crwedge.core.joints import FrameJoints
from crwedge.core.labels import LabelMap
from crwedge.core.places import object_places
from crwedge.core.rle import encode_rle
from crwedge.runtime.sinks.base import Sink


class JsonLinesSink(Sink):
    """One line a frame: index, pts, COCO run lengths of each id. Every line is handed to the system at once.

    Args:
        path: the file; None for standard output.
        resume_at: keep the existing lines of the frames before this one.
    """

    def __init__(self, path: Path | None, resume_at: int | None = None) -> None:
        """Nothing is created yet."""
        self.path, self.name = path, "standard output" if path is None else str(path)
        self._resume_at = resume_at
        self._file: int | None = None
        self._end = 0

    def write(self, labels: LabelMap) -> None:
        """One line. A disk that fills up leaves whole lines only; BrokenPipeError when the reader of a pipe is gone."""
        data = (json.dumps(frame_facts(labels), separators=(",", ":")) + "\n").encode()
        if self.path is None:
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise self._failed(error) from error
            return
        try:
            if self._file is None:
                self._file = self._open(self.path)
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
            self._end += len(data)
        except OSError as error:
            if self._file is not None and stat.S_ISREG(os.fstat(self._file).st_mode):
                os.ftruncate(self._file, self._end)
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._resume_at is None or not path.is_file():
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        with path.open("rb") as file:
            for line in file:
                # A kill may have cut the last line; lines from the snapshot on are written again.
                if not line.endswith(b"\n") or json.loads(line)["index"] >= self._resume_at:
                    break
                self._end += len(line)
        descriptor = os.open(path, os.O_WRONLY)
        os.ftruncate(descriptor, self._end)
        os.lseek(descriptor, self._end, os.SEEK_SET)
        return descriptor


def frame_facts(labels: LabelMap) -> dict[str, Any]:
    """What a line of JSON says of a frame: index, pts, time (UTC), frame number of the source, and each object's RLE.

    `time` is when the frame came, of a file when it was read, in UTC. `name` is that of the frame's file, `names` are those
    of the objects that have one. `boxes` (x, y,
    width, height), `areas` and `centres` (x, y) are in pixels of the frame, null for an object that is nowhere in it.
    `states` and `confidence` are there when they are known. Where joints are followed, `joints` stands in place of all of
    these: by name, x and y in pixels of the frame and the confidence, or null for one that is not to be found.
    """
    facts: dict[str, Any] = {"index": labels.index, "pts": labels.pts, "time": utc_time(labels.time)}
    if labels.source_index is not None:
        facts["frame"] = labels.source_index
    if labels.name is not None:
        facts["name"] = labels.name
    if labels.joints is not None:
        facts["joints"] = joint_facts(labels.joints)
        return facts
    if names := {str(i): labels.names[i] for i in labels.object_ids if i in labels.names}:
        facts["names"] = names
    facts["objects"] = {str(i): encode_rle(labels.ids == i) for i in labels.object_ids}
    places = object_places(labels.ids)
    facts["boxes"] = {str(i): list(places[i].box) if i in places else None for i in labels.object_ids}
    facts["areas"] = {str(i): places[i].area if i in places else 0 for i in labels.object_ids}
    facts["centres"] = {
        str(i): [round(c, 2) for c in places[i].centre] if i in places else None for i in labels.object_ids
    }
    if labels.states:
        facts["states"] = {str(i): state for i, state in labels.states.items()}
    if labels.confidence:
        facts["confidence"] = {str(i): round(value, 4) for i, value in labels.confidence.items()}
    return facts


def joint_facts(joints: FrameJoints) -> dict[str, dict[str, float] | None]:
    """By name: x and y in pixels, rounded to hundredths, and the confidence; null for a joint without a place."""
    trust = joints.confidence if joints.confidence is not None else [None] * len(joints.names)
    facts: dict[str, dict[str, float] | None] = {}
    for name, (x, y), seen, value in zip(joints.names, joints.xy, joints.visible, trust, strict=True):
        place = {"x": round(float(x), 2), "y": round(float(y), 2)}
        known = {} if value is None else {"confidence": round(float(value), 4)}
        facts[name] = {**place, **known} if seen else None
    return facts
