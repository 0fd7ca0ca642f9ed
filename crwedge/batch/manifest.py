"""The manifest of a batch: one line of JSON a video, written by one process, whole at every moment."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from crwedge.batch.job import Job
from crwedge.batch.results import Record, Results

_SHARE = 20
"""Writing takes at most one part in so many of the time."""


class Manifest:
    """The lines of all videos, and the file of them.

    The file is replaced in one step, so a reader sees whole lines and each video once. (Lines that are added at the end could
    be cut by a kill, and a video would have several.) Replacing a long file for every change would cost more than the work:
    changes are gathered for twenty times as long as the last writing took, a tenth of a second for a thousand videos. A kill
    loses none of them, because the records of the videos are written first; see `results`.

    Args:
        results: where it is kept.
        jobs: the videos of this run. Lines of other videos that stand in the manifest stay.
    """

    def __init__(self, results: Results, jobs: Sequence[Job]) -> None:
        self._results = results
        old = {record["name"]: record for record in results.read_manifest()}
        self.records: dict[str, Record] = {}
        """By name, in the order of the plan; those of earlier plans follow."""
        for job in jobs:
            self.records[job.name] = old.pop(job.name, {**job.to_dict(), "state": "waiting"})
        self.records.update(old)
        self._dirty, self._next = True, 0.0

    def __getitem__(self, name: str) -> Record:
        """The line of a video."""
        return self.records[name]

    def set(self, record: Record) -> None:
        """Take the line of a video; it is written with the next `flush` that is due."""
        self.records[record["name"]] = record
        self._dirty = True
        self.flush()

    def flush(self, now: bool = False) -> None:
        """Write what is new, if that is due or asked for."""
        begin = time.monotonic()
        if not self._dirty or (begin < self._next and not now):
            return
        lines = (json.dumps(record, separators=(",", ":")) for record in self.records.values())
        self._results.write_manifest("".join(f"{line}\n" for line in lines).encode())
        self._dirty = False
        end = time.monotonic()
        self._next = end + _SHARE * (end - begin)
