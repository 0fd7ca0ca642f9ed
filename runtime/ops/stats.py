"""What happened in a run: counts of frames, and samples of times in memory that never grows."""

from __future__ import annotations

import resource
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

STAGES = ("decode", "wait", "encode", "propagate", "output", "write")
"""Decode a frame; wait for the tracker; encode, propagate, output in the tracker; wait for the writers and write."""

_KEPT = 8192


class Samples:
    """The last 8,192 values of a series, and the number and sum of all that ever came."""

    def __init__(self) -> None:
        """No value yet; all the memory it will ever take."""
        self.count = 0
        self.total = 0.0
        self._values = array("d", bytes(8 * _KEPT))

    def append(self, value: float) -> None:
        """Add one; the oldest makes way when there are too many."""
        self._values[self.count % _KEPT] = value
        self.count += 1
        self.total += value

    def __len__(self) -> int:
        return min(self.count, _KEPT)

    def __iter__(self) -> Iterator[float]:
        return iter(self._values[: len(self)])

    def percentiles(self) -> dict[str, float]:
        """p50, p95 and p99 of the kept values; zeros when there are none."""
        values = np.frombuffer(self._values, np.float64, len(self)) if len(self) else np.zeros(1)
        return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 95, 99)}


@dataclass
class StreamStats:
    """What happened in a run. frames_in = tracked + dropped + failed, once it has ended."""

    frames_in: int = 0
    """Frames the source gave."""
    tracked: int = 0
    """Frames that were labelled."""
    dropped: int = 0
    """Frames that came while the tracker was busy, or were waiting when the run ended."""
    failed: int = 0
    """Frames the tracker could not label."""
    written: int = 0
    """Labelled frames that every sink took."""
    recovering: int = 0
    """Labelled frames whose objects were not all `ok` while they were looked for again."""
    restarts: int = 0
    """How often the source was opened again."""
    pts_repeated: int = 0
    """Time stamps equal to the one before."""
    pts_backward: int = 0
    """Time stamps below the one before."""
    last_written: float | None = None
    """`time.monotonic()` of the last frame that every sink took."""
    seconds: float = 0.0
    stages_ms: dict[str, Samples] = field(default_factory=lambda: {stage: Samples() for stage in STAGES})
    """Milliseconds of each stage, frame by frame."""
    latency_ms: Samples = field(default_factory=Samples)
    """From a frame's arrival to its last output written."""

    @property
    def fps(self) -> float:
        """Frames tracked a second, of the whole run."""
        return self.tracked / self.seconds if self.seconds else 0.0

    def percentiles(self) -> dict[str, float]:
        """Latency p50, p95, p99 in milliseconds."""
        return self.latency_ms.percentiles()

    def stage_percentiles(self) -> dict[str, dict[str, float]]:
        """p50, p95, p99 of each stage in milliseconds."""
        return {stage: samples.percentiles() for stage, samples in self.stages_ms.items()}

    def shares(self) -> dict[str, float]:
        """Share of each stage in the time of all stages."""
        totals = {stage: samples.total for stage, samples in self.stages_ms.items()}
        whole = sum(totals.values()) or 1.0
        return {stage: round(total / whole, 4) for stage, total in totals.items()}

    def check(self) -> None:
        """Every frame must be accounted for; AssertionError with the counts otherwise."""
        if self.frames_in != self.tracked + self.dropped + self.failed:
            raise AssertionError(
                f"{self.frames_in} frames came in, but {self.tracked} tracked + {self.dropped} dropped + "
                f"{self.failed} failed"
            )

    def note_pts(self, before: float | None, now: float | None) -> None:
        """Count a time stamp that does not rise."""
        if before is not None and now is not None:
            self.pts_repeated += now == before
            self.pts_backward += now < before


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
