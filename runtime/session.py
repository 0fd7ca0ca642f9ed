"""A session: one source -> tracker -> sinks, with observers. `crwedge track` runs it, and so can a program.

session = Session("camera0", cw.read_mask("init.png"), ["masks.jsonl"])
Thread(target=session.run).start()
session.correct(mask)              # or session.remove(2), from any thread
session.stop()
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import MaskError, SettingError
from crwedge.core.joints import FrameJoints, Joints
from crwedge.core.prompts import PromptLike
from crwedge.core.settings import preset
from crwedge.formats.prompt import AnnotatedMask, parse_names, read_prompt
from crwedge.runtime.adapter import Adapter
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.broker import is_broker
from crwedge.runtime.bundle_lookup import default_preset, find_bundle
from crwedge.runtime.default_outputs import default_outputs
from crwedge.runtime.events import silent
from crwedge.runtime.first_prompt import FirstPrompt
from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.observer import Observer
from crwedge.runtime.ops.command import Command
from crwedge.runtime.ops.command_topic import CommandTopic
from crwedge.runtime.ops.commands import CommandFile, CommandQueue, CommandReader, Commands
from crwedge.runtime.ops.rate_control import RateController, rate_to_hold
from crwedge.runtime.ops.snapshot import Snapshots, State, read_snapshot
from crwedge.runtime.ops.stats import StreamStats
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.session_summary import summary_of
from crwedge.runtime.session_targets import SessionTargets
from crwedge.runtime.sinks.base import MaskSink
from crwedge.runtime.sinks.open import open_sink
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.sources.frame_range import FrameRange
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.sources.uri import redact
from crwedge.runtime.stream import run_stream
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions
from crwedge.runtime.written_files import check_written

_log = logging.getLogger("crwedge")


class SourceAdapter(Adapter, Protocol):
    """Test-time training that may need the frames ahead of the tracker."""

    def ahead(self, source: FrameSource) -> FrameSource:
        """The source to track: as it is, or delayed."""
        ...


class Session:
    """Tracks one source until it ends or `stop` is called.

    Args:
        source: see `open_source`; or a source that is open, which the session closes.
        prompt: what to track: (H, W) ids, joints, or a file of them. Not needed with a snapshot to resume.
        outputs: one or several, see `open_sink`. By default a window for live sources, and the folder `masks` for others.
        options: see `SessionOptions`.
        engine: the encoder, where several sessions share one; it stays open. By default a new one.
        adapter: test-time training.
        on_event: called with each event of the source, of snapshots and of commands, and its facts.
        stop: ends the session; several sessions may share one.

    Raises:
        UserError: an option has a value that cannot be used.
    """

    def __init__(
        self,
        source: str | Path | FrameSource,
        prompt: PromptLike | Joints | AnnotatedMask | str | Path | None = None,
        outputs: str | Path | Sequence[str | Path] | None = None,
        options: SessionOptions | None = None,
        *,
        engine: Engine | None = None,
        adapter: SourceAdapter | None = None,
        on_event: Callable[..., None] = silent,
        stop: StopToken | None = None,
    ) -> None:
        self.options = options = options or SessionOptions()
        self.stats = StreamStats()
        self.name = redact(str(source)) if isinstance(source, str | Path) else source.name
        """Of the source, without credentials."""
        self._source_id = self.name
        self.length: int | None = None
        """Number of frames, once the source is open and where it is known."""
        self.fps: float | None = None
        """Frames a second of the source, once it is open and where they are known."""
        self.bundle = options.model if isinstance(options.model, Bundle) else find_bundle(options.model)
        self.preset_name = options.preset or default_preset(self.bundle)
        self.settings = options.settings or preset(self.preset_name)
        self._stop = stop if stop is not None else StopToken()
        self._source = source
        given = read_prompt(prompt, options.start) if isinstance(prompt, str | Path) else prompt
        self._prompt = given.mask if isinstance(given, AnnotatedMask) else given
        self._prompt_frame, names = (given.frame, given.names) if isinstance(given, AnnotatedMask) else (0, {})
        self._begins = "the joints begin" if isinstance(given, Joints) else "the mask begins"
        self._names = {**names, **parse_names(options.names)}
        self._outputs = [outputs] if isinstance(outputs, str | Path) else outputs
        check_written(options, self._outputs, source, prompt)
        self._engine, self._adapter, self._on_event = engine, adapter, on_event
        self._queue = CommandQueue()
        self._topic = str(options.control) if options.control and is_broker(str(options.control)) else None
        file = options.control if self._topic is None else None
        self._file = CommandFile(file, on_event) if file is not None else None
        self._snapshots: Snapshots | None = None
        if options.snapshot is not None:
            self._snapshots = Snapshots(options.snapshot, self._state, options.snapshot_every, on_event)
        self._tracker: Tracker | None = None
        self._attached: list[Observer] = []
        self._sinks: list[MaskSink] = []
        if options.resume and options.snapshot is None:
            raise SettingError("--resume needs a snapshot: add --snapshot FILE")
        if options.reverse and options.resume:
            raise SettingError("reverse cannot be resumed from a snapshot: leave --resume out")
        self._sought = SessionTargets(options, self._prompt, self._resumes)
        if prompt is None and not self._resumes and not options.preview and not self._sought:
            missing = "there is no snapshot to resume from yet" if options.resume else "the first frame needs a mask"
            raise SettingError(f"{missing}: give the objects to follow with --mask init.png or --target FILE")
        if options.confidence and isinstance(self._prompt, Joints | FrameJoints):
            raise SettingError("the option confidence is for masks; joints have a confidence of their own")

    @property
    def tracker(self) -> Tracker | None:
        """The tracker, while the session runs. Only observers may use it, in the tracker's thread."""
        return self._tracker

    def attach(self, observer: Observer, *sinks: MaskSink) -> None:
        """Add an observer, and sinks beside those of `outputs`; call it before `run`.

        Args:
            observer: called after those of the session itself.
            sinks: opened; the session closes them.
        """
        self._attached.append(observer)
        self._sinks.extend(sinks)

    def correct(self, mask: NDArray[np.uint8], frame: Frame | None = None) -> Future[int]:
        """Add the objects of a mask, or correct them, with the next frame; from any thread.

        Args:
            mask: (H, W) ids of the frame's size; 0 says nothing about other objects, 255 (void) nothing at all.
            frame: the frame that it was painted on, where that has passed: it joins the context, and nothing is written
                for it.

        Returns:
            See `CommandQueue.submit`.
        """
        return self._queue.submit(Command(mask, frame=frame))

    def follow(self, mask: NDArray[np.uint8], frame: Frame | None = None) -> Future[int]:
        """Follow what a mask shows and nothing else, as if the session began; needs `preview`. See `correct`."""
        return self._queue.submit(Command(mask, frame=frame, forget=True))

    def forget(self) -> Future[int]:
        """Follow nothing from the next frame on, until `correct` or `follow`; needs `preview`."""
        return self._queue.submit(Command(forget=True))

    def remove(self, *ids: int) -> Future[int]:
        """Remove objects from the next frame on; from any thread. For the result see `CommandQueue.submit`."""
        return self._queue.submit(Command(remove=ids))

    def take_snapshot(self) -> None:
        """Take a snapshot after the next frame, where the options name a file; from any thread or signal handler."""
        if self._snapshots is not None:
            self._snapshots.wanted = True

    def stop(self) -> None:
        """End the session; labelled frames are still written. From any thread or signal handler."""
        self._stop.set()

    def run(self, observers: Sequence[Observer] = ()) -> dict[str, Any]:
        """Track until the end. Call it once.

        Args:
            observers: called after those of the session itself.

        Returns:
            What `crwedge track --json` prints.

        Raises:
            CrwedgeError: the first error of any part. Outputs written before it are complete and readable.
        """
        options = self.options
        state = read_snapshot(options.snapshot) if self._resumes and options.snapshot is not None else None
        at = state.index if state is not None else None
        try:
            with (
                self._open_source() as source,
                contextlib.ExitStack() as closing,
                contextlib.ExitStack() as opened,
            ):
                self.name, self.fps, self._source_id = source.name, source.fps, _identity(source)
                if state is not None and not options.resume_any:
                    state.check_source(self._source_id)
                outputs = default_outputs(source.live) if self._outputs is None else self._outputs
                targets = [str(target) for target in outputs]
                sinks = [opened.enter_context(sink) for sink in self._sinks]
                sinks += [
                    opened.enter_context(open_sink(t, overwrite=options.overwrite, resume_at=at, source=source))
                    for t in targets
                ]
                with self._open_tracker(source.live) as self._tracker:
                    topic = None if self._topic is None else CommandTopic(self._topic, self._on_event)
                    if topic is not None:
                        closing.callback(topic.close)
                    own = self._observers(self._tracker, source, state, topic)
                    frames = self._frames(source, state)
                    opened.pop_all()  # run_stream closes them
                    run_stream(
                        self._tracker,
                        frames,
                        sinks,
                        late=options.late,
                        observers=[*own, *self._attached, *observers],
                        stop=self._stop,
                        stats=self.stats,
                        preview=options.preview,
                    )
                    self.stats.restarts = getattr(source, "restarts", 0)
                    if not source.live and state is None:
                        self._check_start()
                    if self._snapshots is not None and self._tracker.object_ids:
                        self._snapshots.finish()
                    more = {**self._sought.summary(), "damaged_packets": getattr(source, "damaged", 0)}
                    return summary_of(self, self._tracker, targets, self._stop.signal) | more
        finally:
            self._queue.close()

    @property
    def _resumes(self) -> bool:
        return self.options.resume and self.options.snapshot is not None and Path(self.options.snapshot).exists()

    @property
    def _start(self) -> int:
        """Number of the frame that the prompt belongs to."""
        return self._prompt.first()[0] if isinstance(self._prompt, Joints) else self._prompt_frame

    def _open_source(self) -> FrameSource:
        options = self.options
        if not isinstance(self._source, str | Path):
            return self._source
        return open_source(
            self._source,
            self._on_event,
            options.watchdog,
            start=self._start if options.reverse and options.start is None and self._start else options.start,
            reverse=options.reverse,
            skip_damaged=options.skip_damaged,
        )

    def _open_tracker(self, live: bool) -> Tracker:
        options = self.options
        confidence = options.confidence
        if confidence is None:
            confidence = live and not isinstance(self._prompt, Joints | FrameJoints)
        return Tracker.open(
            self.bundle,
            self._engine or options.engine,
            self.settings,
            TrackerOptions(options.size, confidence, any_size=live),
            self._adapter,
            options.threads,
        )

    def _frames(self, source: FrameSource, state: State | None) -> FrameSource:
        """The frames to track: from the prompt's frame on, or those after the snapshot."""
        frames = self._adapter.ahead(source) if self._adapter is not None else source
        if isinstance(self._prompt, Joints | FrameJoints):
            _log.info("note: %d joints: %s", len(self._prompt.names), ", ".join(self._prompt.names))
        most = self.options.max_frames
        if state is not None:
            skip = 0 if source.live else (state.source_index or 0) + 1 - (self.options.start or 0)
            self._on_event("resumed", source=self.name, index=state.index, skipped=skip)
            part = FrameRange(frames, skip, most, state.pts_now if source.live else None, after_gap=source.live)
        else:
            skip = 0 if source.live or self.options.reverse else max(0, self._start - (self.options.start or 0))
            if skip:
                _log.info("note: %s with frame %d; the frames before it are skipped", self._begins, self._start)
            part = FrameRange(frames, skip, most)
        self.length = part.length
        return part

    def _check_start(self) -> None:
        if self._start and not self.stats.frames_in and not self._stop.is_set():
            raise MaskError(f"{self._begins} with frame {self._start} (from 0), which {self.name} does not have")

    def _observers(
        self, tracker: Tracker, source: FrameSource, state: State | None, topic: CommandTopic | None
    ) -> list[Observer]:
        """Restore the state, and make the session's own observers."""
        options, index = self.options, 0
        own: list[Observer] = []
        tracker.rename({**({} if state is None else state.names), **self._names})
        if state is None:
            own.append(FirstPrompt(self._prompt, tracker, options.resize_mask))
        else:
            tracker.restore(state)
            index = state.index
            if self._file is not None and "control" in state.facts:
                self._file.restore(state.facts["control"])
        readers: list[CommandReader] = [self._queue]
        if self._file is not None:
            readers.append(self._file)
        if topic is not None:
            readers.append(topic)
        own.append(Commands(tracker, readers, index, options.resize_mask, self._on_event, options.preview))
        own += self._sought.observers(tracker, index, self._on_event)
        if (fps := rate_to_hold(options.fps, source, self.settings)) is not None:
            own.append(RateController(tracker, fps, self._on_event))
        if self._snapshots is not None:
            own.append(self._snapshots)
        return own

    def _state(self) -> State:
        """What a snapshot keeps: the tracker's state, the source, and which commands were carried out."""
        assert self._tracker is not None
        state = self._tracker.state()
        control = {} if self._file is None else {"control": self._file.state()}
        return replace(
            state,
            facts={**state.facts, "source": self._source_id, "names": list(self._tracker.names.items()), **control},
        )


def _identity(source: FrameSource) -> str:
    """Name of a source that does not depend on the working folder."""
    local = not source.live and "://" not in source.name and source.name != "standard input"
    return os.path.abspath(source.name) if local else source.name
