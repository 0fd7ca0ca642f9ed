"""One stream of `crwedge track`: from its source through a tracker to its outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import MaskError, SettingError
from crwedge.core.joints import Joints
from crwedge.core.labels import LabelMap
from crwedge.core.masks import resize_mask
from crwedge.core.prompts import PromptLike
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.frame_queue import Halt
from crwedge.runtime.ops.commands import Control
from crwedge.runtime.ops.events import EventLog
from crwedge.runtime.ops.rate_control import Budget
from crwedge.runtime.ops.snapshot import Snapshots, State, read_snapshot
from crwedge.runtime.ops.stats import StreamStats, peak_rss_mb
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.stream import Late, run_stream

if TYPE_CHECKING:
    from crwedge.adapt.trainer import TestTimeTrainer
    from crwedge.runtime.tracker import Tracker, TrackerOptions


@dataclass(frozen=True)
class Options:
    """What all streams of a run share."""

    bundle: Bundle
    engine: str
    settings: PropagationSettings
    preset: str
    size: tuple[int, int] | None
    threads: int | None
    max_frames: int | None
    resize_mask: bool
    overwrite: bool
    late: Late | None
    watchdog: float
    snapshot_every: float
    resume: bool
    confidence: bool | None
    fps: float | None
    as_json: bool


@dataclass
class Stream:
    """One source, what to follow in it, and its outputs."""

    source: str
    start: NDArray[np.uint8] | Joints | None
    """(H, W) ids, or joints; None only where a snapshot has them."""
    outs: list[str] | None
    snapshot: Path | None
    control: Path | None = None
    trainer: TestTimeTrainer | None = None


class Follower:
    """Runs one stream and sums it up."""

    def __init__(self, stream: Stream, options: Options, log: EventLog, halt: Halt, say: Callable[[str], None]) -> None:
        """Nothing is opened yet."""
        self.stream, self.options, self.log, self.halt, self.say = stream, options, log, halt, say
        self.stats = StreamStats()
        self.snapshots = (
            Snapshots(stream.snapshot, options.snapshot_every, log) if stream.snapshot is not None else None
        )
        self.budget: Budget | None = None
        self.control: Control | None = None
        self.name = stream.source
        self.latest: LabelMap | None = None

    def run(
        self, engine: Engine | None = None, shown: Callable[[StreamStats, FrameSource], None] | None = None
    ) -> dict[str, Any]:
        """Track until the source ends or somebody halts it.

        Args:
            engine: one that several streams share; by default a new one.
            shown: told after each frame that was written.

        Returns:
            What `--json` prints.
        """
        from crwedge.runtime.sinks.open import open_sink
        from crwedge.runtime.sources.open import open_source
        from crwedge.runtime.tracker import Tracker, TrackerOptions

        options, stream, trainer = self.options, self.stream, self.stream.trainer
        state = None
        if options.resume and stream.snapshot is not None and stream.snapshot.exists():
            state = read_snapshot(stream.snapshot)
        elif stream.start is None:
            raise SettingError("give --mask init.png: there is no snapshot yet to go on from")
        if stream.control is not None:
            self.control = Control(stream.control, self.log, state.facts.get("control") if state is not None else None)
        with open_source(stream.source, self.log, options.watchdog) as frames:
            self.name = frames.name
            targets = stream.outs or ([] if options.as_json else ["window" if frames.live else "masks"])
            at = state.index if state is not None else None
            sinks = [open_sink(t, overwrite=options.overwrite, resume_at=at, source=frames) for t in targets]
            source = trainer.ahead(frames) if trainer else frames
            watched = frames.live and not isinstance(stream.start, Joints)
            how = TrackerOptions(
                options.size,
                confidence=watched if options.confidence is None else options.confidence,
                any_size=frames.live,
            )
            with self._tracker(Tracker, engine, how) as tracker:
                skip = 0 if frames.live else self._first_frame()
                if state is not None:
                    tracker.restore(state)
                    skip = 0 if frames.live else (state.source_index or 0) + 1
                    self.log("resumed", source=self.name, index=state.index, skipped=skip)
                if options.fps is not None:
                    self.budget = Budget(tracker, options.fps, self.log)

                def on_frame(labels: LabelMap, stats: StreamStats) -> None:
                    self.latest = labels
                    if shown is not None:
                        shown(stats, frames)
                    # The tracker may be frames ahead of the writers, so the frame is asked, not the count.
                    if labels.index == 0 and state is None:
                        self.say(tracker.memory_statement)

                run_stream(
                    tracker,
                    source,
                    sinks,
                    max_frames=options.max_frames,
                    on_frame=on_frame,
                    stats=self.stats,
                    late=options.late,
                    halt=self.halt,
                    skip=skip,
                    gap_first=state is not None and frames.live,
                    before_step=self._before_step(tracker, state),
                    after_step=self._after_step(tracker),
                    interrupt=getattr(frames, "interrupt", None),
                )
                if skip and state is None and not self.stats.frames_in and not self.halt.is_set():
                    raise MaskError(f"the joints begin with frame {skip} (from 0), which {frames.name} does not have")
                self.stats.restarts = getattr(frames, "restarts", 0)
                if self.snapshots is not None:
                    self.snapshots.finish(self._state(tracker) if self.stats.tracked else None)
                return self._sum_up(tracker, targets)

    def _tracker(self, tracker: type[Tracker], engine: Engine | None, how: TrackerOptions) -> Tracker:
        o = self.options
        return tracker.open(o.bundle, engine or o.engine, o.settings, how, self.stream.trainer, o.threads, self.say)

    def _before_step(self, tracker: Tracker, state: State | None) -> Callable[[Frame], PromptLike | None] | None:
        """What brings the start, and the masks that commands name later."""
        if state is not None and self.control is None:
            return None
        done = 0 if state is None else state.index

        def before(frame: Frame) -> PromptLike | None:
            if not self.stats.tracked and state is None:
                return self._given(frame)
            if self.control is None:
                return None
            size = frame.image.shape[0], frame.image.shape[1]
            fit = _no_mask if tracker.joint_names else self._fit
            return self.control.take(done + self.stats.tracked, size, tracker, fit)

        return before

    def _first_frame(self) -> int:
        """Number of the frame that following starts with: that of a mask is the source's first."""
        start = self.stream.start
        if not isinstance(start, Joints) or (number := start.first()[0]) == 0:
            return 0
        self.say(f"the joints begin with frame {number}; the frames before it are passed over")
        return number

    def _given(self, frame: Frame) -> PromptLike | None:
        """The mask or the joints with the first frame, fitted to it where that was asked for."""
        start, size = self.stream.start, (frame.image.shape[0], frame.image.shape[1])
        if start is None:
            return None
        if not isinstance(start, Joints):
            return self._fit(start, size)
        _, joints = start.first()
        if start.beyond and (outside := joints.outside(size)).any():
            names = ", ".join(name for name, out in zip(joints.names, outside, strict=True) if out)
            self.say(f"note: outside the first frame, and not followed: {names}")
            joints = replace(joints, xy=np.where(outside[:, None], np.nan, joints.xy))
        return joints

    def _fit(self, mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask at the frame's size, where that was asked for."""
        return resize_mask(mask, size) if self.options.resize_mask and mask.shape != size else mask

    def _state(self, tracker: Tracker) -> State:
        """What a snapshot keeps: the tracker's state, and which commands are in it."""
        state = tracker.state()
        if self.control is None:
            return state
        return replace(state, facts={**state.facts, "control": self.control.state()})

    def _after_step(self, tracker: Tracker) -> Callable[[Frame], Callable[[], None] | None]:
        def after(_: Frame) -> Callable[[], None] | None:
            if self.budget is not None:
                self.budget.note(sum(tracker.stages_ms.values()))
            if self.snapshots is not None and self.snapshots.due():
                return self.snapshots.take(self._state(tracker))
            return None

        return after

    def _sum_up(self, tracker: Tracker, targets: list[str]) -> dict[str, Any]:
        from crwedge.runtime.sources.uri import redact

        stats, bundle = self.stats, self.options.bundle
        shown = [redact(target) for target in targets]
        where = ", ".join(shown) or "nowhere (no --out)"
        counts = f"{stats.frames_in} in = {stats.tracked} tracked + {stats.dropped} dropped + {stats.failed} failed"
        self.say(
            f"{stats.tracked} frames at {stats.fps:.2f} a second on {tracker.engine.name} ({counts}); written to {where}"
        )
        protocol = {"preset": self.options.preset, **self.options.settings.to_dict()}
        protocol["size"] = list(tracker.options.size) if tracker.options.size else None
        return {
            "frames_in": stats.frames_in,
            "tracked": stats.tracked,
            "dropped": stats.dropped,
            "failed": stats.failed,
            "written": stats.written,
            "recovering": stats.recovering,
            "restarts": stats.restarts,
            "pts_repeated": stats.pts_repeated,
            "pts_backward": stats.pts_backward,
            "fps": round(stats.fps, 3),
            "latency_ms": stats.percentiles(),
            "stages_ms": stats.stage_percentiles(),
            "stage_shares": stats.shares(),
            "peak_rss_mb": round(peak_rss_mb(), 1),
            "engine": tracker.engine.name,
            "protocol": protocol,
            "model": {"name": bundle.manifest.name, "sha256": bundle.sha256, "trained": bundle.manifest.trained},
            "outputs": shown,
            "stopped_by": self.halt.signal,
        }


def _no_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    raise MaskError("joints are followed, which a mask cannot correct; remove takes their numbers")


@contextlib.contextmanager
def shared_engine(options: Options, say: Callable[[str], None]) -> Iterator[Engine]:
    """One engine for several streams."""
    from crwedge.runtime.backends.engine import LockedEngine
    from crwedge.runtime.backends.open import open_engine

    size = options.size or options.bundle.manifest.size
    engine = open_engine(options.bundle, options.engine, options.threads, say, size)
    try:
        yield LockedEngine(engine)
    finally:
        engine.close()
