"""Run a tracker over a source into sinks, with exact accounting of frames and of time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import LabelMap
from crwedge.runtime.sinks import MaskSink, StopStream
from crwedge.runtime.sources import FrameSource
from crwedge.runtime.tracker import Tracker

STAGES = ("decode", "encode", "propagate", "output", "write")


@dataclass
class StreamStats:
    """What happened in a run. frames_in = tracked + dropped + failed, always."""

    frames_in: int = 0
    tracked: int = 0
    dropped: int = 0
    failed: int = 0
    seconds: float = 0.0
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    """Milliseconds of each stage, frame by frame."""
    latency_ms: list[float] = field(default_factory=list)
    """From a frame's arrival to its last output written."""

    @property
    def fps(self) -> float:
        """Frames tracked a second, of the whole run."""
        return self.tracked / self.seconds if self.seconds else 0.0

    def percentiles(self) -> dict[str, float]:
        """Latency p50, p95, p99 in milliseconds."""
        values = self.latency_ms or [0.0]
        return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 95, 99)}

    def shares(self) -> dict[str, float]:
        """Share of each stage in the time of all stages."""
        totals = {stage: sum(values) for stage, values in self.stages_ms.items()}
        whole = sum(totals.values()) or 1.0
        return {stage: round(total / whole, 4) for stage, total in totals.items()}


def run_stream(
    tracker: Tracker,
    source: FrameSource,
    sinks: Sequence[MaskSink] = (),
    mask: NDArray[np.uint8] | None = None,
    max_frames: int | None = None,
    on_frame: Callable[[LabelMap, StreamStats], None] | None = None,
    stats: StreamStats | None = None,
) -> StreamStats:
    """Track every frame of `source` and write it to all `sinks`; closes the sinks, not the source or the tracker.

    Args:
        tracker: a tracker that was just opened or reset.
        source: frames.
        sinks: outputs.
        mask: (H, W) ids of the first frame.
        max_frames: stop after so many.
        on_frame: called after each frame was written.
        stats: filled in place, so that a caller still has the counts when this raises.

    Raises:
        CrwedgeError: whatever went wrong; what was written before stays, complete and readable.
    """
    stats = stats if stats is not None else StreamStats()
    begin = time.perf_counter()
    try:
        with ExitStack() as closing:
            for sink in sinks:
                closing.enter_context(sink)
            frames = iter(source)
            while max_frames is None or stats.frames_in < max_frames:
                start = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                arrived = time.perf_counter()
                stats.frames_in += 1
                try:
                    labels = tracker.step(frame, mask)
                except CrwedgeError:
                    stats.failed += 1
                    raise
                mask = None
                tracked = time.perf_counter()
                stats.tracked += 1
                for sink in sinks:
                    sink.write(labels)
                done = time.perf_counter()
                _record(stats, tracker, 1e3 * (arrived - start), 1e3 * (done - tracked), 1e3 * (done - arrived))
                stats.seconds = done - begin
                if on_frame is not None:
                    on_frame(labels, stats)
    except StopStream:
        pass
    finally:
        stats.seconds = time.perf_counter() - begin
    return stats


def _record(stats: StreamStats, tracker: Tracker, decode: float, write: float, latency: float) -> None:
    for stage, value in (("decode", decode), *tracker.stages_ms.items(), ("write", write)):
        stats.stages_ms[stage].append(value)
    stats.latency_ms.append(latency)


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
