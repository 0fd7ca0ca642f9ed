"""The pipeline: same results as offline, exact accounting, and every part failing in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import SinkError, SourceError
from crwedge.core.scene import Scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.frame_queue import FrameQueue, StopToken
from crwedge.runtime.observer import Observer
from crwedge.runtime.ops.stats import RecentFrames, Samples, StreamStats
from crwedge.runtime.sinks.base import StopStream
from crwedge.runtime.sources.frame_range import FrameRange
from tests.streaming.parts import ListSink, ListSource, OnWritten, QuickTracker, threads_left


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert threads_left() == []


def run(source: Any, sinks: Any = (), tracker: Any = None, **more: Any) -> StreamStats:
    stats: StreamStats = more.pop("stats", StreamStats())
    chosen: Any = tracker or QuickTracker()
    try:
        cw.run_stream(chosen, source, sinks, **more, stats=stats)
    finally:
        stats.check()
    return stats


def test_results_equal_the_offline_generator_bit_for_bit(tmp_path: Path, small_scene: Scene) -> None:
    for index, frame in enumerate(small_scene.frames):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    offline = list(cw.propagate(tmp_path, small_scene.masks[0], shipped_bundle()))
    first, second = ListSink(), ListSink(slow=0.02)
    with cw.Tracker.open(shipped_bundle()) as tracker, cw.open_source(tmp_path) as source:
        stats = run(source, [first, second], tracker, prompt=small_scene.masks[0])
    assert (stats.frames_in, stats.tracked, stats.written) == (6, 6, 6)
    for sink in (first, second):
        for expected, got in zip(offline, sink.got, strict=True):
            np.testing.assert_array_equal(expected.ids, got.ids)
            np.testing.assert_array_equal(expected.soft, got.soft)
    assert all(samples.count == 6 for samples in stats.stages_ms.values())
    assert stats.latency_ms.total >= sum(stats.stages_ms[s].total for s in ("encode", "propagate", "output"))


def test_files_wait_and_nothing_is_dropped() -> None:
    sink = ListSink()
    stats = run(ListSource(40), [sink], QuickTracker(slow=0.002))
    assert (stats.frames_in, stats.tracked, stats.dropped) == (40, 40, 0)
    assert [labels.source_index for labels in sink.got] == list(range(40))


def test_live_sources_drop_and_the_newest_wins() -> None:
    gate = threading.Event()
    source = ListSource(50, live=True, after_last=gate.set)
    tracker = QuickTracker(before_first=gate.wait)
    sink = ListSink()
    stats = run(source, [sink], tracker, prompt=np.ones((16, 16), np.uint8))
    # The tracker is held at the first frame until the source has ended: of the rest only the newest is left.
    assert [labels.source_index for labels in sink.got] == [0, 49]
    assert (stats.frames_in, stats.tracked, stats.dropped, stats.failed) == (50, 2, 48, 0)


def test_the_first_frame_is_never_dropped() -> None:
    # The reader is done before the tracker takes its first frame.
    queue: FrameQueue[int] = FrameQueue(1, StopToken())
    assert queue.put_latest(0, keep=True) is None
    assert [queue.put_latest(i) for i in range(1, 5)] == [None, 1, 2, 3]
    queue.close()
    assert queue.put_latest(5) == 5
    assert [queue.get(), queue.get(), queue.get()] == [0, 4, None]


def test_late_can_be_chosen_either_way() -> None:
    assert run(ListSource(30, live=True), tracker=QuickTracker(slow=0.001), late="wait").dropped == 0
    assert run(ListSource(30), tracker=QuickTracker(slow=0.05), late="drop").dropped > 0


def test_a_slow_writer_holds_a_file_back_and_makes_a_camera_drop() -> None:
    sink = ListSink(slow=0.02)
    assert run(ListSource(20), [sink]).written == 20
    sink = ListSink(slow=0.05)
    stats = run(ListSource(60, live=True, every=0.002), [sink])
    assert stats.dropped > 0
    assert len(sink.got) == stats.tracked == stats.written


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("part", ["source", "tracker", "sink", "callback", "close"])
def test_the_first_error_of_any_part_ends_all(part: str, live: bool) -> None:
    boom = RuntimeError(part)
    source = ListSource(10_000, live=live, every=0.001, fail_at=20 if part == "source" else None, error=boom)
    tracker = QuickTracker(fail_at=5 if part == "tracker" else None, error=boom)
    broken = ListSink(fail_at=5 if part == "sink" else None, error=boom, fail_to_close=part == "close")
    fine = ListSink()

    def callback(labels: cw.LabelMap) -> None:
        if part == "callback" and labels.index == 5:
            raise boom

    stats = StreamStats()
    with pytest.raises(RuntimeError, match=part):
        run(FrameRange(source, count=200), [broken, fine], tracker, observers=[OnWritten(callback)], stats=stats)
    assert fine.closed
    assert stats.failed == (part == "tracker")
    if part != "callback":
        assert len(fine.got) == stats.tracked


def test_a_source_that_fails_gives_what_it_held_first() -> None:
    sink = ListSink()
    with pytest.raises(SourceError, match="gone"):
        run(ListSource(99, fail_at=7, error=SourceError("gone")), [sink], QuickTracker(slow=0.005))
    assert len(sink.got) == 7


def test_a_callback_that_raises_without_any_sink() -> None:
    def callback(labels: cw.LabelMap) -> None:
        raise ValueError("callback")

    with pytest.raises(ValueError, match="callback"):
        run(ListSource(1000), observers=[OnWritten(callback)])


@pytest.mark.parametrize("method", ["before", "after"])
def test_an_observer_that_raises_ends_all(method: str) -> None:
    class Broken(Observer):
        def before(self, frame: cw.Frame) -> None:
            if method == "before" and frame.index == 3:
                raise ValueError(method)

        def after(self, labels: cw.LabelMap) -> None:
            if method == "after" and labels.index == 3:
                raise ValueError(method)

    stats, sink = StreamStats(), ListSink()
    with pytest.raises(ValueError, match=method):
        run(ListSource(1000), [sink], observers=[Broken()], stats=stats)
    assert (stats.tracked, stats.failed) == ((3, 1) if method == "before" else (4, 0))
    assert len(sink.got) == 3


def test_two_prompts_for_one_frame_come_one_after_the_other() -> None:
    class Painter(Observer):
        def __init__(self, value: int) -> None:
            self.prompts = [np.full((16, 16), value, np.uint8)]

        def before(self, frame: cw.Frame) -> np.ndarray | None:
            return self.prompts.pop() if self.prompts and frame.index > 0 else None

    tracker = QuickTracker()
    run(ListSource(5), tracker=tracker, prompt=np.full((16, 16), 1, np.uint8), observers=[Painter(2), Painter(3)])
    assert tracker.prompts == [1, 2, 3, None, None]


def test_the_first_of_two_errors_is_raised() -> None:
    slow = ListSink(slow=0.3, fail_at=0, error=SinkError("second"))
    quick = ListSink(fail_at=0, error=SinkError("first"))
    with pytest.raises(SinkError, match="first"):
        run(ListSource(5), [slow, quick])


def test_a_sink_may_end_the_stream_in_good_order() -> None:
    closing, other = ListSink(fail_at=3, error=StopStream()), ListSink()
    stats = run(ListSource(100_000), [closing, other])
    assert stats.tracked == len(other.got) < 100_000


def test_a_stop_from_outside_writes_all_that_was_labelled() -> None:
    stop, sink = StopToken(), ListSink(slow=0.01)
    ending = OnWritten(lambda labels: stop.set(15) if labels.index == 9 else None)
    stats = run(ListSource(100_000), [sink], stop=stop, observers=[ending])
    assert stop.signal == 15
    assert len(sink.got) == stats.tracked == stats.written
    assert 10 <= stats.tracked < 30


@pytest.mark.parametrize("ranged", [False, True])
def test_a_stop_reaches_a_source_that_gives_nothing(ranged: bool) -> None:
    stop = StopToken()
    source = ListSource(5, live=True, then_hang=True)
    threading.Timer(0.3, stop.set).start()
    begin = time.monotonic()
    assert run(FrameRange(source) if ranged else source, stop=stop).frames_in == 5
    assert time.monotonic() - begin < 10
    assert source.interrupted


def test_the_keyboard_ends_all_parts() -> None:
    sink = ListSink()
    with pytest.raises(KeyboardInterrupt):
        cw.run_stream(QuickTracker(fail_at=3, error=KeyboardInterrupt()), ListSource(1000), [sink])  # type: ignore[arg-type]
    assert sink.closed
    assert len(sink.got) == 3


def test_time_stamps_that_do_not_rise_are_counted_and_kept() -> None:
    stamps = [0.0, 0.1, 0.1, 0.5, 0.2, None, 0.3, 0.3]
    sink = ListSink()
    stats = run(ListSource(8, stamps=stamps), [sink])
    assert [labels.pts for labels in sink.got] == stamps
    assert (stats.pts_repeated, stats.pts_backward) == (2, 1)


def test_a_dropped_frame_passes_its_gap_on() -> None:
    gate = threading.Event()
    tracker = QuickTracker(before_first=gate.wait)
    run(ListSource(30, live=True, gap_at=10, after_last=gate.set), tracker=tracker)
    assert tracker.gaps == [29]


def test_a_range_of_frames() -> None:
    sink = ListSink()
    frames = FrameRange(ListSource(100), 5, 7)
    assert frames.length == 7
    assert run(frames, [sink]).frames_in == 7
    assert [labels.source_index for labels in sink.got] == list(range(5, 12))
    assert run(FrameRange(ListSource(3), 5, 7)).frames_in == 0
    assert (FrameRange(ListSource(3), 2).length, FrameRange(ListSource(3), 5).length) == (1, 0)
    begin = time.monotonic()
    skipping, stop = ListSource(10**6, every=0.001), StopToken()
    threading.Timer(0.2, stop.set).start()
    assert run(FrameRange(skipping, 10**6), stop=stop).frames_in == 0
    assert time.monotonic() - begin < 10


def test_stamps_of_a_live_source_go_on_after_a_resume() -> None:
    sink, tracker = ListSink(), QuickTracker()
    stamps = [3.0, 3.1, None, 3.4]
    run(
        FrameRange(ListSource(4, live=True, stamps=stamps), resume_pts=20.0, after_gap=True),
        [sink],
        tracker,
        late="wait",
    )
    np.testing.assert_allclose([labels.pts for labels in sink.got if labels.pts is not None], [20.0, 20.1, 20.4])
    assert sink.got[2].pts is None
    assert tracker.gaps == [0]


def test_waiting_is_no_work() -> None:
    # One slow sink: the second frame waits for it, and that is no writing.
    stats = run(ListSource(4), [ListSink(slow=0.05), ListSink()], QuickTracker(slow=0.001))
    writing = stats.stages_ms["write"].total
    assert 4 * 50 <= writing < stats.latency_ms.total
    assert stats.stages_ms["wait"].total > 50
    assert sum(stats.shares().values()) == pytest.approx(1, abs=0.01)
    assert stats.shares()["write"] > 0.9
    assert stats.stages_ms["camera"].total == 0
    live = run(ListSource(4, live=True, every=0.02), [ListSink()])
    assert live.stages_ms["decode"].total == 0
    assert live.stages_ms["camera"].total >= 4 * 15


def test_the_rate_of_now() -> None:
    recent = RecentFrames()
    assert not recent.flowing(0.0)
    for index in range(100):
        recent.add(index / 10)
    assert recent.rate(9.9) == pytest.approx(10)
    # The next frame is due at 10.0.
    assert recent.flowing(11.4)
    assert not recent.flowing(11.6)
    assert recent.rate(11.6) == 0
    hourly = RecentFrames()
    for hour in range(3):
        hourly.add(3600.0 * hour)
    assert hourly.flowing(3 * 3600 + 1)
    assert not hourly.flowing(3 * 3600 + 2)
    assert hourly.rate(7300.0) == pytest.approx(1 / 3600)


def test_samples_are_bounded_and_their_sum_is_not() -> None:
    samples = Samples()
    for value in range(20_000):
        samples.append(value)
    assert len(samples) == 8192
    assert (samples.count, samples.total) == (20_000, sum(range(20_000)))
    assert min(samples) == 20_000 - 8192
    assert Samples().percentiles() == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_a_stop_reaches_a_source_behind_a_lookahead() -> None:
    from crwedge.adapt.lookahead import LookaheadSource

    stop, source = StopToken(), ListSource(5, live=True, then_hang=True)
    threading.Timer(0.3, stop.set).start()
    begin = time.monotonic()
    run(FrameRange(LookaheadSource(source, 2, lambda image, index: None)), stop=stop)
    assert source.interrupted
    assert time.monotonic() - begin < 10
