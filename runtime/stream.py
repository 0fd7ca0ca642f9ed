"""Run a tracker over a source into sinks: reader | tracker | writers, with exact accounting of frames and of time.

The source is read in a thread of its own, every sink writes in one of its own, and the tracker runs in the thread that
called. All queues between them are bounded. The first error in any part ends all parts and is raised to the caller;
what was labelled before it is still written by the sinks that work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from crwedge.core.errors import CrwedgeError
from crwedge.core.labels import LabelMap
from crwedge.core.prompts import PromptLike
from crwedge.runtime.frame_queue import Halt, Mailbox
from crwedge.runtime.ops.stats import STAGES, StreamStats, peak_rss_mb
from crwedge.runtime.sinks.base import MaskSink, StopStream
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.tracker import Tracker

__all__ = ["STAGES", "Late", "StreamStats", "peak_rss_mb", "run_stream"]

Late = Literal["drop", "wait"]
"""What happens to a frame that comes while the tracker is busy: the newest wins, or the source waits."""

_WAITING = 2
"""Frames that may wait for the tracker, and label maps that may wait for each sink."""
_PATIENCE = 15.0
"""Seconds to wait for a reader that hangs in its source; after that it is left behind."""


@dataclass
class _Arrival:
    """A frame on its way to the tracker."""

    frame: Frame
    decode_ms: float
    arrived: float


class _Ticket:
    """A label map on its way through the sinks; the last sink to finish it completes it."""

    def __init__(self, labels: LabelMap, arrived: float, stages_ms: dict[str, float], tasks: int) -> None:
        self.labels, self.arrived, self.stages_ms = labels, arrived, stages_ms
        self.tracked = time.perf_counter()
        self.then: Sequence[Callable[[], None]] = ()
        self._left, self._lock = tasks, threading.Lock()

    def finish(self) -> bool:
        """One sink has written it; True when it was the last."""
        with self._lock:
            self._left -= 1
            return self._left <= 0


def run_stream(
    tracker: Tracker,
    source: FrameSource,
    sinks: Sequence[MaskSink] = (),
    mask: PromptLike | None = None,
    max_frames: int | None = None,
    on_frame: Callable[[LabelMap, StreamStats], None] | None = None,
    stats: StreamStats | None = None,
    *,
    late: Late | None = None,
    halt: Halt | None = None,
    after_step: Callable[[Frame], Callable[[], None] | None] | None = None,
    before_step: Callable[[Frame], PromptLike | None] | None = None,
    skip: int = 0,
    gap_first: bool = False,
    interrupt: Callable[[], None] | None = None,
) -> StreamStats:
    """Track the frames of `source` and write them to all `sinks`; closes the sinks, not the source or the tracker.

    Args:
        tracker: a tracker that was just opened, reset or restored.
        source: frames.
        sinks: outputs; each writes in a thread of its own.
        mask: (H, W) ids, or joints, of the first frame. That frame is never dropped.
        max_frames: stop after so many frames of the source.
        on_frame: called after each frame was written everywhere, in the thread of the sink that was last.
        stats: filled in place, so that a caller still has the counts when this raises.
        late: `drop` or `wait`; by default live sources drop and files wait.
        halt: ends the run in good order when it is set, from any thread or signal handler.
        after_step: called in the tracker's thread after each step; what it returns is called once that frame was
            written everywhere.
        before_step: called in the tracker's thread before each step; what it returns is that frame's mask or joints.
        skip: frames of the source to pass over, as they were labelled in an earlier run; they are not counted.
        gap_first: whether frames are missing before the first one.
        interrupt: makes a source that hangs end; by default its own `interrupt`, where it has one.

    Raises:
        CrwedgeError: whatever went wrong first; what was written before stays, complete and readable.
    """
    stats = stats if stats is not None else StreamStats()
    halt = halt if halt is not None else Halt()
    policy: Late = late or ("drop" if getattr(source, "live", False) else "wait")
    run = _Run(sinks, stats, on_frame, halt)
    inbox: Mailbox[_Arrival] = Mailbox(_WAITING if policy == "wait" else 1, halt)
    reader = threading.Thread(
        target=run.read,
        args=(source, inbox, policy, max_frames, mask is not None or before_step is not None, skip, gap_first),
        name="crwedge-reader",
        daemon=True,
    )
    reader.start()
    run.start_writers()
    try:
        _track(tracker, inbox, run, mask, before_step, after_step)
    except StopStream:
        halt.set()
    except CrwedgeError as error:
        run.fail(error)
    except BaseException:
        halt.set()
        raise
    finally:
        _wind_up(run, inbox, reader, interrupt or getattr(source, "interrupt", None))
        stats.seconds = time.perf_counter() - run.begin
    stats.check()
    first = run.error or run.source_error
    if first is not None:
        raise first
    return stats


def _track(
    tracker: Tracker,
    inbox: Mailbox[_Arrival],
    run: _Run,
    mask: PromptLike | None,
    before_step: Callable[[Frame], PromptLike | None] | None,
    after_step: Callable[[Frame], Callable[[], None] | None] | None,
) -> None:
    """The tracker's part: one frame after the other, until there is none."""
    stats = run.stats
    while (arrival := inbox.get()) is not None:
        begin = time.perf_counter()
        frame = arrival.frame
        try:
            if before_step is not None and (painted := before_step(frame)) is not None:
                mask = painted
            labels = tracker.step(frame, mask)
        except BaseException:
            stats.failed += 1
            raise
        mask = None
        stats.tracked += 1
        stats.recovering += any(state == "recovering" for state in labels.states.values())
        waited = {"decode": arrival.decode_ms, "wait": 1e3 * (begin - arrival.arrived)}
        ticket = _Ticket(labels, arrival.arrived, {**waited, **tracker.stages_ms}, len(run.boxes))
        if after_step is not None and (then := after_step(frame)) is not None:
            ticket.then = (then,)
        run.hand_over(ticket)


class _Run:
    """What the threads of one run share."""

    def __init__(
        self,
        sinks: Sequence[MaskSink],
        stats: StreamStats,
        on_frame: Callable[[LabelMap, StreamStats], None] | None,
        halt: Halt,
    ) -> None:
        self.sinks, self.stats, self.on_frame, self.halt = sinks, stats, on_frame, halt
        self.begin = time.perf_counter()
        self.error: BaseException | None = None
        self.source_error: CrwedgeError | None = None
        self.boxes: list[Mailbox[_Ticket]] = [Mailbox(_WAITING, halt) for _ in sinks]
        self.writers: list[threading.Thread] = []
        self._lock = threading.Lock()

    def fail(self, error: BaseException) -> None:
        """Keep the first error, and end every part."""
        with self._lock:
            if self.error is None:
                self.error = error
        self.halt.set()

    def start_writers(self) -> None:
        """A thread for each sink."""
        for number, (sink, box) in enumerate(zip(self.sinks, self.boxes, strict=True)):
            thread = threading.Thread(target=self._write, args=(sink, box), name=f"crwedge-sink-{number}", daemon=True)
            thread.start()
            self.writers.append(thread)

    def read(
        self,
        source: Iterable[Frame],
        inbox: Mailbox[_Arrival],
        late: Late,
        max_frames: int | None,
        keep_first: bool,
        skip: int,
        gap: bool,
    ) -> None:
        """The reader's part. An error comes after the frames before it were handed over."""
        stats, before = self.stats, None
        try:
            frames = iter(source)
            for _ in range(skip):
                if self.halt.is_set() or next(frames, None) is None:
                    return
            while not self.halt.is_set() and (max_frames is None or stats.frames_in < max_frames):
                start = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                arrived = time.perf_counter()
                stats.frames_in += 1
                stats.note_pts(before, frame.pts)
                before = frame.pts if frame.pts is not None else before
                if gap:
                    # The frame that told of the gap was dropped; this one tells of it in its place.
                    frame, gap = replace(frame, after_gap=True), False
                arrival = _Arrival(frame, 1e3 * (arrived - start), arrived)
                if late == "wait":
                    stats.dropped += not inbox.put(arrival)
                elif (gone := inbox.offer(arrival, keep=keep_first and stats.frames_in == 1)) is not None:
                    stats.dropped += 1
                    if gone.frame.after_gap:
                        # Either it makes way for this frame, or this frame was not taken.
                        gap = gone is arrival
                        arrival.frame = replace(arrival.frame, after_gap=True)
        except CrwedgeError as error:
            # It comes after the frames that wait: these are still labelled, and what goes wrong with them comes first.
            self.source_error = error
        except BaseException as error:
            self.fail(error)
        finally:
            inbox.close()

    def hand_over(self, ticket: _Ticket) -> None:
        """Give a label map to every sink; waits while one has too many."""
        for box in self.boxes:
            # A box that is not taken from any more belongs to a sink that failed.
            box.put(ticket, always=True)
        if not self.boxes:
            self._complete(ticket)

    def _write(self, sink: MaskSink, box: Mailbox[_Ticket]) -> None:
        """A writer's part. It goes on after a halt until all that was labelled is written."""
        try:
            with sink:
                # An error is kept before the sink closes: closing may fail for the same reason, in other words.
                self._write_all(sink, box)
        except BaseException as error:
            self.fail(error)
        finally:
            box.close()
            box.discard()

    def _write_all(self, sink: MaskSink, box: Mailbox[_Ticket]) -> None:
        try:
            while (ticket := box.get(drain=True)) is not None:
                sink.write(ticket.labels)
                if ticket.finish():
                    self._complete(ticket)
        except StopStream:
            self.halt.set()
        except BaseException as error:
            self.fail(error)

    def _complete(self, ticket: _Ticket) -> None:
        stats, done = self.stats, time.perf_counter()
        for stage in STAGES[:-1]:
            stats.stages_ms[stage].append(ticket.stages_ms.get(stage, 0.0))
        stats.stages_ms["write"].append(1e3 * (done - ticket.tracked))
        stats.latency_ms.append(1e3 * (done - ticket.arrived))
        stats.written += 1
        stats.seconds = done - self.begin
        stats.last_written = time.monotonic()
        for then in ticket.then:
            then()
        if self.on_frame is not None:
            self.on_frame(ticket.labels, stats)


def _wind_up(
    run: _Run, inbox: Mailbox[_Arrival], reader: threading.Thread, interrupt: Callable[[], None] | None
) -> None:
    """End the reader, count what nobody labelled, let the sinks finish."""
    ended = not run.halt.is_set()
    if not ended and interrupt is not None:
        interrupt()
    reader.join(None if ended else _PATIENCE)
    inbox.close()
    run.stats.dropped += inbox.discard()
    for box in run.boxes:
        box.close()
    for thread in run.writers:
        thread.join()
