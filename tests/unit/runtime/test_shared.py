"""Streams that share an engine: what each gives alone, side by side or in a batch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import CrwedgeError
from crwedge.core.scene import render_scene
from crwedge.runtime.backends.engine import Batching, Engine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.processors import at_work, share
from crwedge.runtime.shared import MOST_IN_A_BATCH, SharedEngine, divided


class FakeEngine:
    """A fake: notes what it is given together, and is busy until it is let go."""

    name = "fake"

    def __init__(self, at_once: int = 1) -> None:
        self.at_once, self.go = at_once, threading.Event()
        self.batches: list[list[int]] = []
        self.beside, self.most_beside, self._lock = 0, 0, threading.Lock()

    def run(self, frame: np.ndarray) -> np.ndarray:
        return self.run_many([frame])[0]

    def run_many(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            self.batches.append([int(frame[0, 0, 0]) for frame in frames])
            self.beside += 1
            self.most_beside = max(self.most_beside, self.beside)
        assert self.go.wait(60)
        with self._lock:
            self.beside -= 1
        if any(frame[0, 0, 0] == 99 for frame in frames):
            raise CrwedgeError("no")
        return [np.full((1, 2, 2), frame[0, 0, 0], np.float32) for frame in frames]

    def close(self) -> None:
        raise AssertionError("it belongs to whoever opened it")


def frame(value: int, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


def all_there(shared: SharedEngine, count: int) -> bool:
    return shared._running + len(shared._waiting) == count


def submit_in_turn(pool: ThreadPoolExecutor, shared: SharedEngine, frames: Sequence[np.ndarray]) -> list[Future]:
    """Each frame in a thread of its own, in this order; all wait but those that run."""
    futures = []
    for number, one in enumerate(frames):
        futures.append(pool.submit(shared.run, one))
        wait_until(partial(all_there, shared, number + 1))
    return futures


def test_frames_that_wait_go_together() -> None:
    engine = FakeEngine()
    shared = SharedEngine(engine)
    sizes = [(16, 16), (16, 16), (8, 16), (16, 16), *[(16, 16)] * MOST_IN_A_BATCH]
    with ThreadPoolExecutor(len(sizes)) as pool:
        futures = submit_in_turn(pool, shared, [frame(n, size) for n, size in enumerate(sizes)])
        engine.go.set()
        for number, future in enumerate(futures):
            assert (future.result(60) == number).all()
    # The one that waits longest decides the size; nobody is passed over, and a batch has an end.
    assert engine.batches == [[0], [1, 3, 4, 5], [2], [6, 7]]
    shared.close()


def test_as_many_side_by_side_as_the_engine_takes() -> None:
    engine = FakeEngine(at_once=2)
    shared = SharedEngine(engine)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(shared.run, frame(n)) for n in range(4)]
        wait_until(lambda: shared._running == 2 and len(shared._waiting) == 2)
        engine.go.set()
        assert sorted(int(future.result(60)[0, 0, 0]) for future in futures) == [0, 1, 2, 3]
    assert engine.most_beside == 2
    assert sorted(map(len, engine.batches)) == [1, 1, 2]


@pytest.mark.parametrize(
    ("streams", "threads", "expected"), [(1, 4, (4, 1)), (2, 4, (2, 2)), (3, 2, (1, 2)), (2, 1, (1, 1)), (3, 8, (2, 4))]
)
def test_streams_together_take_no_more_than_they_may(streams: int, threads: int, expected: tuple[int, int]) -> None:
    assert divided(streams, threads) == expected
    engine = FakeEngine(at_once=8)
    shared = SharedEngine(engine, expected[1])
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(shared.run, frame(n)) for n in range(9)]
        wait_until(lambda: shared._running == expected[1] and len(shared._waiting) == 9 - expected[1])
        engine.go.set()
        assert sorted(int(future.result(60)[0, 0, 0]) for future in futures) == list(range(9))
    assert engine.most_beside == expected[1]


def test_an_error_reaches_those_it_concerns() -> None:
    engine = FakeEngine()
    shared = SharedEngine(engine)
    with ThreadPoolExecutor(3) as pool:
        first, bad, other = submit_in_turn(pool, shared, [frame(1), frame(99, (8, 8)), frame(3)])
        engine.go.set()
        assert (first.result(60) == 1).all()
        assert (other.result(60) == 3).all()
        with pytest.raises(CrwedgeError, match="no"):
            bad.result(60)
    assert (shared.run(frame(5)) == 5).all()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return cw.open_engine(cw.Bundle.open(shipped_bundle()), "cpu", 2)


@pytest.mark.parametrize("size", [(48, 64), (61, 83)])
def test_a_batch_is_the_same_to_the_bit(engine: Engine, size: tuple[int, int]) -> None:
    assert isinstance(engine, Batching)
    frames = [render_scene(1, *size, seed=seed).frames[0] for seed in range(3)]
    for one, together in zip(frames, engine.run_many(frames), strict=True):
        np.testing.assert_array_equal(together, engine.run(one))


Result = tuple[np.ndarray, np.ndarray, dict[int, float]]


def follow(engine: Engine, seed: int, size: tuple[int, int], start: threading.Barrier | None = None) -> list[Result]:
    scene = render_scene(8, *size, seed=seed)
    tracker = cw.Tracker(engine, cw.PropagationSettings(context_length=3), workers=2)
    tracker.watch = True
    found = []
    for index, image in enumerate(scene.frames):
        if start is not None:
            # All at the same moment, so that some meet at the engine.
            start.wait(60)
        labels = tracker.step(image, scene.masks[0] if index == 0 else None)
        found.append((labels.ids, labels.soft, dict(labels.confidence)))
    tracker._close_propagators()
    return found


@pytest.mark.parametrize("divide", [False, True])
def test_streams_give_what_each_gives_alone(engine: Engine, divide: bool) -> None:
    streams = [(3, (48, 64)), (4, (48, 64)), (5, (48, 64)), (6, (56, 72)), (7, (48, 64))]
    alone = [follow(engine, seed, size) for seed, size in streams]
    start = threading.Barrier(len(streams))
    with contextlib.ExitStack() as opened:
        shared = SharedEngine(engine)
        if divide:
            part = cw.open_engine(cw.Bundle.open(shipped_bundle()), "cpu", 1)
            opened.callback(part.close)
            shared = SharedEngine(part, 2, engine)
        pool = opened.enter_context(ThreadPoolExecutor(len(streams)))
        together = list(pool.map(lambda stream: follow(shared, stream[0], stream[1], start), streams))
    for one, other in zip(alone, together, strict=True):
        for (ids, soft, confidence), (its_ids, its_soft, its_confidence) in zip(one, other, strict=True):
            np.testing.assert_array_equal(its_ids, ids)
            np.testing.assert_array_equal(its_soft, soft)
            assert its_confidence == confidence


def test_a_stream_alone_at_work_has_all_threads() -> None:
    part, whole = FakeEngine(), FakeEngine()
    part.go.set()
    whole.go.set()
    shared = SharedEngine(part, 2, whole)
    with at_work():
        assert (shared.run(frame(1)) == 1).all()
        with at_work():
            assert (shared.run(frame(2)) == 2).all()
        assert (shared.run(frame(3)) == 3).all()
    assert (whole.batches, part.batches) == ([[1], [3]], [[2]])


def test_streams_at_work_share_the_threads() -> None:
    assert [share(n) for n in (1, 2, 8)] == [1, 2, 8]
    with at_work(), at_work():
        assert [share(n) for n in (1, 2, 8)] == [1, 1, 4]
        with pytest.raises(CrwedgeError), at_work():
            assert share(8) == 2
            raise CrwedgeError("a step that fails is over too")
        assert share(8) == 4
    assert share(8) == 8


def test_labels_do_not_depend_on_how_many_threads_are_free(engine: Engine) -> None:
    scene = render_scene(3, 200, 96)  # 25 rows of cells: strips of unequal height
    found = []
    for others in (0, 1, 3):
        tracker = cw.Tracker(engine, cw.PropagationSettings(context_length=2), workers=4)
        with contextlib.ExitStack() as stack:
            for _ in range(others):
                stack.enter_context(at_work())
            tracker.step(scene.frames[0], scene.masks[0])
            found.append([tracker.step(image).soft for image in scene.frames[1:]])
        tracker._close_propagators()
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])
