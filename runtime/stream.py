"""Run a tracker over a source into sinks: reader | tracker | writers, with exact accounting of frames and of time.

The source is read in its own thread, each sink writes in its own thread, and the tracker runs in the calling thread. All
queues between them are bounded. The first error in any part ends all parts and is raised to the caller; frames that were
labelled before it are still written by the sinks that work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import LabelMap
from crwedge.core.prompts import PromptLike
from crwedge.runtime.frame_queue import FrameQueue, StopToken
from crwedge.runtime.observer import Observer
from crwedge.runtime.ops.stats import STAGES, StreamStats
from crwedge.runtime.sinks.base import MaskSink, StopStream
from crwedge.runtime.sources.frame import Frame, FrameSource

if TYPE_CHECKING:
    from crwedge.runtime.tracker import Tracker

Late = Literal["drop", "wait"]
"""What happens to a frame that comes while the tracker is busy: the newest frame wins, or the source waits."""

_QUEUED = 2
"""Frames that may wait for the tracker, and label maps that may wait for each sink."""
_PATIENCE = 15.0
"""Seconds to wait for a reader that hangs in its source; after that it is abandoned."""


def run_stream(
    tracker: Tracker,
    source: FrameSource,
    sinks: Sequence[MaskSink] = (),
    *,
    prompt: PromptLike | None = None,
    late: Late | None = None,
    observers: Sequence[Observer] = (),
    stop: StopToken | None = None,
    stats: StreamStats | None = None,
    preview: bool = False,
) -> StreamStats:
    """Track the frames of `source` and write them to all `sinks`; closes the sinks, not the source or the tracker.

    Args:
        tracker: a tracker that was just opened, reset or restored.
        source: frames; see `FrameRange` for a part of a source. The first frame is never dropped.
        sinks: outputs.
        prompt: (H, W) ids, or joints, of the first frame.
        late: `drop` or `wait`; by default live sources drop and files wait.
        observers: called for each frame, in this order.
        stop: ends the run once it is set, from any thread or signal handler; labelled frames are still written.
        stats: filled in place, so that the counts are known while it runs and after an error.
        preview: frames may come while nothing is followed; observers see them, and nothing is written.

    Returns:
        The counts and times of the run.

    Raises:
        CrwedgeError: the first error of any part. Outputs written before it are complete and readable.
    """
    stats = stats if stats is not None else StreamStats()
    stop = stop if stop is not None else StopToken()
    policy: Late = late or ("drop" if source.live else "wait")
    run = _Run(sinks, observers, stats, stop, preview)
    frames: FrameQueue[_Arrival] = FrameQueue(_QUEUED if policy == "wait" else 1, stop)
    reader = threading.Thread(target=run.read, args=(source, frames, policy), name="crwedge-reader", daemon=True)
    reader.start()
    run.start_writers()
    try:
        run.track(tracker, frames, prompt)
    except StopStream:
        stop.set()
    except CrwedgeError as error:
        run.fail(error)
    except BaseException:
        stop.set()
        raise
    finally:
        run.wind_up(source, frames, reader)
    stats.check()
    first = run.error or run.source_error
    if first is not None:
        raise first
    return stats


@dataclass
class _Arrival:
    """A frame on its way to the tracker."""

    frame: Frame
    arrived: float
    stages_ms: dict[str, float]


def _carry_gap(dropped: _Arrival, newer: _Arrival) -> None:
    """Mark the frame after a dropped one as after a gap, if the dropped one was."""
    if dropped.frame.after_gap:
        newer.frame = replace(newer.frame, after_gap=True)


class _Ticket:
    """A label map on its way through the sinks; the last sink to finish completes it."""

    def __init__(self, labels: LabelMap, arrived: float, stages_ms: dict[str, float], sinks: int) -> None:
        self.labels, self.arrived, self.stages_ms = labels, arrived, stages_ms
        self.tracked = time.perf_counter()
        self.longest_write = 0.0
        self._left, self._lock = sinks, threading.Lock()

    def finish(self, write_ms: float) -> bool:
        """Record that one sink has written it; True for the last sink."""
        with self._lock:
            self.stages_ms["write"] = self.stages_ms.get("write", 0.0) + write_ms
            self.longest_write = max(self.longest_write, write_ms)
            self._left -= 1
            return self._left <= 0


class _Run:
    """State that the threads of one run share."""

    def __init__(
        self,
        sinks: Sequence[MaskSink],
        observers: Sequence[Observer],
        stats: StreamStats,
        stop: StopToken,
        preview: bool = False,
    ) -> None:
        self.sinks, self.observers, self.stats, self.stop = sinks, observers, stats, stop
        self.preview = preview
        self.begin = time.perf_counter()
        self.error: BaseException | None = None
        self.source_error: CrwedgeError | None = None
        self.queues: list[FrameQueue[_Ticket]] = [FrameQueue(_QUEUED, stop) for _ in sinks]
        self.writers: list[threading.Thread] = []
        self._lock = threading.Lock()

    def fail(self, error: BaseException) -> None:
        """Keep the first error, and stop every part."""
        with self._lock:
            if self.error is None:
                self.error = error
        self.stop.set()

    def start_writers(self) -> None:
        """Start a thread for each sink."""
        for number, (sink, queue) in enumerate(zip(self.sinks, self.queues, strict=True)):
            thread = threading.Thread(
                target=self._write, args=(sink, queue), name=f"crwedge-sink-{number}", daemon=True
            )
            thread.start()
            self.writers.append(thread)

    def read(self, source: FrameSource, queue: FrameQueue[_Arrival], late: Late) -> None:
        """Read the source. Its error is raised after the frames before it were handed over."""
        stats, before = self.stats, None
        stage = "camera" if source.live else "decode"
        try:
            frames = iter(source)
            while not self.stop.is_set():
                start = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                arrived = time.perf_counter()
                stats.frames_in += 1
                stats.record_pts(before, frame.pts)
                before = frame.pts if frame.pts is not None else before
                arrival = _Arrival(frame, arrived, {stage: 1e3 * (arrived - start)})
                if late == "wait":
                    stats.dropped += not queue.put(arrival)
                else:
                    stats.dropped += queue.put_latest(arrival, stats.frames_in == 1, _carry_gap) is not None
        except CrwedgeError as error:
            # Queued frames are labelled first, and an error among them comes first.
            self.source_error = error
        except BaseException as error:
            self.fail(error)
        finally:
            queue.close()

    def track(self, tracker: Tracker, queue: FrameQueue[_Arrival], prompt: PromptLike | None) -> None:
        """Label one frame after the other, until there is none."""
        stats = self.stats
        while (arrival := queue.get()) is not None:
            begin = time.perf_counter()
            frame = arrival.frame
            try:
                for observer in self.observers if prompt is None else ():
                    if (prompt := observer.before(frame)) is not None:
                        break
                if self.preview and prompt is None and not (tracker.object_ids or tracker.searched):
                    self._show(frame)
                    continue
                labels = tracker.step(frame, prompt)
            except BaseException:
                stats.failed += 1
                raise
            prompt = None
            stats.tracked += 1
            stats.recovering += any(state == "recovering" for state in labels.states.values())
            stages = {**arrival.stages_ms, "wait": 1e3 * (begin - arrival.arrived), **tracker.stages_ms}
            ticket = _Ticket(labels, arrival.arrived, stages, len(self.queues))
            for observer in self.observers:
                observer.after(labels)
            self._hand_over(ticket)

    def _show(self, frame: Frame) -> None:
        """Pass over a frame that comes while nothing is followed."""
        self.stats.previewed += 1
        self.stats.recent.add()
        for observer in self.observers:
            observer.previewed(frame)

    def wind_up(self, source: FrameSource, queue: FrameQueue[_Arrival], reader: threading.Thread) -> None:
        """End the reader, count the frames that were not labelled, let the sinks finish."""
        stopped = self.stop.is_set()
        if stopped and (interrupt := getattr(source, "interrupt", None)) is not None:
            interrupt()
        reader.join(_PATIENCE if stopped else None)
        queue.close()
        self.stats.dropped += queue.drain()
        for box in self.queues:
            box.close()
        for thread in self.writers:
            thread.join()
        self.stats.seconds = time.perf_counter() - self.begin

    def _hand_over(self, ticket: _Ticket) -> None:
        """Give a label map to every sink; waits while a sink has too many."""
        for queue in self.queues:
            # The closed queue of a sink that failed takes nothing.
            queue.put(ticket, always=True)
        if not self.queues:
            self._complete(ticket)

    def _write(self, sink: MaskSink, queue: FrameQueue[_Ticket]) -> None:
        """Write to one sink. After a stop it goes on until every labelled frame is written."""
        try:
            with sink:
                # An error is kept before the sink closes: closing may fail for the same reason, in other words.
                self._write_all(sink, queue)
        except BaseException as error:
            self.fail(error)
        finally:
            queue.close()
            queue.drain()

    def _write_all(self, sink: MaskSink, queue: FrameQueue[_Ticket]) -> None:
        try:
            while (ticket := queue.get(drain=True)) is not None:
                begin = time.perf_counter()
                sink.write(ticket.labels)
                if ticket.finish(1e3 * (time.perf_counter() - begin)):
                    self._complete(ticket)
        except StopStream:
            self.stop.set()
        except BaseException as error:
            self.fail(error)

    def _complete(self, ticket: _Ticket) -> None:
        stats, stages, done = self.stats, ticket.stages_ms, time.perf_counter()
        stages["wait"] += max(0.0, 1e3 * (done - ticket.tracked) - ticket.longest_write)
        for stage in STAGES:
            stats.stages_ms[stage].append(stages.get(stage, 0.0))
        stats.latency_ms.append(1e3 * (done - ticket.arrived))
        stats.written += 1
        stats.seconds = done - self.begin
        stats.recent.add()
        for observer in self.observers:
            observer.written(ticket.labels)
