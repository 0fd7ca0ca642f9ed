"""Counts of frames, and bounded samples of times."""

from __future__ import annotations

import resource
import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

WORK = ("decode", "encode", "propagate", "output", "write")
"""Work on a frame: decode it; encode, propagate and output in the tracker; write, summed over the sinks."""
STAGES = ("camera", "decode", "wait", "encode", "propagate", "output", "write")
"""`WORK`, and the waiting: for the next frame of a live source (`camera`), and in queues (`wait`)."""

_KEPT = 8192
_RECENT = 32
_OVERDUE = 1.5
"""Seconds after a frame was due at which frames no longer count as flowing."""


class Samples:
    """The last 8,192 values of a series, and the number and sum of all values."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._values = array("d", bytes(8 * _KEPT))

    def append(self, value: float) -> None:
        """Add a value; drops the oldest one when 8,192 are kept."""
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


class RecentFrames:
    """The rate of the last frames, and whether frames still come.

    Times are those of `time.monotonic`; `now` is for tests.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_RECENT)

    def add(self, now: float | None = None) -> None:
        """Record a written frame."""
        self._times.append(time.monotonic() if now is None else now)

    def flowing(self, now: float | None = None) -> bool:
        """Whether the next frame is less than 1.5 s overdue. It is due one median interval after the last frame."""
        times = list(self._times)
        if not times:
            return False
        interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        return (time.monotonic() if now is None else now) < times[-1] + interval + _OVERDUE

    def rate(self, now: float | None = None) -> float:
        """Frames a second over the last 32 frames; 0 when frames do not flow."""
        times = list(self._times)
        if len(times) < 2 or times[-1] == times[0] or not self.flowing(now):
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])


@dataclass
class StreamStats:
    """Counts and times of a run. frames_in = tracked + previewed + dropped + failed, once it has ended."""

    frames_in: int = 0
    """Frames the source gave."""
    tracked: int = 0
    """Frames that were labelled."""
    previewed: int = 0
    """Frames that came while nothing was followed."""
    dropped: int = 0
    """Frames that came while the tracker was busy, or were waiting when the run ended."""
    failed: int = 0
    """Frames the tracker could not label."""
    written: int = 0
    """Labelled frames that every sink took."""
    recovering: int = 0
    """Labelled frames with an object that is being searched for."""
    restarts: int = 0
    """How often the source was opened again."""
    pts_repeated: int = 0
    """Time stamps equal to the one before."""
    pts_backward: int = 0
    """Time stamps below the one before."""
    seconds: float = 0.0
    stages_ms: dict[str, Samples] = field(default_factory=lambda: {stage: Samples() for stage in STAGES})
    """Milliseconds of each stage, frame by frame."""
    latency_ms: Samples = field(default_factory=Samples)
    """From a frame's arrival to its last output written."""
    recent: RecentFrames = field(default_factory=RecentFrames)
    """The rate of now."""

    @property
    def fps(self) -> float:
        """Frames tracked a second, over the whole run."""
        return self.tracked / self.seconds if self.seconds else 0.0

    def percentiles(self) -> dict[str, float]:
        """Latency p50, p95, p99 in milliseconds."""
        return self.latency_ms.percentiles()

    def stage_percentiles(self) -> dict[str, dict[str, float]]:
        """p50, p95, p99 of each stage in milliseconds."""
        return {stage: samples.percentiles() for stage, samples in self.stages_ms.items()}

    def shares(self) -> dict[str, float]:
        """Share of each stage of `WORK` in the work on a frame, by medians. Waiting is not work."""
        medians = {stage: self.stages_ms[stage].percentiles()["p50"] for stage in WORK}
        whole = sum(medians.values()) or 1.0
        return {stage: round(median / whole, 4) for stage, median in medians.items()}

    def check(self) -> None:
        """Check that every frame is accounted for; AssertionError with the counts otherwise."""
        if self.frames_in != self.tracked + self.previewed + self.dropped + self.failed:
            raise AssertionError(
                f"{self.frames_in} frames came in, but {self.tracked} tracked + {self.previewed} previewed + "
                f"{self.dropped} dropped + {self.failed} failed"
            )

    def record_pts(self, before: float | None, now: float | None) -> None:
        """Count a time stamp that does not rise."""
        if before is not None and now is not None:
            self.pts_repeated += now == before
            self.pts_backward += now < before

    def to_dict(self) -> dict[str, object]:
        """All figures as plain values, as `--json` prints them."""
        counts = ("frames_in", "tracked", "dropped", "failed", "written", "recovering", "restarts")
        return {
            **{name: getattr(self, name) for name in (*counts, "pts_repeated", "pts_backward")},
            **({"previewed": self.previewed} if self.previewed else {}),
            "fps": round(self.fps, 3),
            "latency_ms": self.percentiles(),
            "stages_ms": self.stage_percentiles(),
            "stage_shares": self.shares(),
        }


def peak_rss_mb() -> float:
    """Peak resident memory of this process since its program was started, in MB.

    `ru_maxrss` also counts the process that started this one, as Linux keeps it over `exec`. `VmHWM` belongs to the memory
    map, which `exec` replaces.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(float(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
