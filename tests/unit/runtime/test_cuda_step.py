"""The whole step on a device: one graph for every step, frames sent ahead, and what happens where neither can be.

The device is a CPU whose streams run as late as they may, TensorRT a fake that computes with ONNX Runtime.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import gpu_encoder
from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.labels import LabelMap
from crwedge.core.scene import Scene, render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.backends.tensorrt import TensorRtEngine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.sources.frame import Frame, FrameSource
from crwedge.runtime.stream import run_stream
from crwedge.runtime.tracker import Tracker
from tests.unit.runtime.late_driver import LateDriver
from tests.unit.runtime.test_cuda_engines import FakeContext, FakeEngine, build, fake_trt
from tests.unit.runtime.test_placement import device_engine

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
SETTINGS = PropagationSettings(context_length=3, topk=4, radius=4, storage="float16", max_pinned=2)


class EncodingContext(FakeContext):
    """Queues ONNX Runtime's work on the driver; `refuses` stands for an engine that cannot be recorded."""

    refuses = False

    def execute_async_v3(self, stream: int) -> bool:
        driver: HostDriver = self.engine.driver  # type: ignore[attr-defined]
        if self.refuses and driver._recording is not None:
            return False
        encode = partial(self._encode, self.addresses["frames"], self.shape, self.addresses["features"])
        driver.call(encode, stream)
        return True

    def _encode(self, frame: int, shape: tuple[int, ...], features: int) -> None:
        pixels = np.empty(shape, np.uint8)
        HostDriver().download(pixels, frame, 1)
        session = self.engine.session  # type: ignore[attr-defined]
        (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
        HostDriver().upload(features, np.asarray(found, np.float32) * np.float32(self.engine.mark / 5), 1)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    shutil.copytree(shipped_bundle(), tmp_path / "bundle")
    found = Bundle.open(tmp_path / "bundle")
    build(found)
    return found


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(14, 64, 96)


def engine_on(bundle: Bundle, driver: HostDriver, context: type[EncodingContext] = EncodingContext) -> TensorRtEngine:
    import onnxruntime as ort

    one_thread = ort.SessionOptions()
    one_thread.intra_op_num_threads = 1
    session = ort.InferenceSession(bundle.read(ONNX), one_thread, providers=["CPUExecutionProvider"])

    def load(data: bytes) -> FakeEngine:
        made = FakeEngine(data[0])
        made.driver, made.session = driver, session  # type: ignore[attr-defined]
        made.create_execution_context = lambda: context(made)  # type: ignore[method-assign]
        return made

    trt = fake_trt()
    trt.Runtime = lambda _: SimpleNamespace(deserialize_cuda_engine=load)
    return TensorRtEngine(bundle, driver=driver, trt=trt, say=driver_said(driver).append)


def driver_said(driver: HostDriver) -> list[str]:
    """What the engine on this driver has said."""
    said: list[str] = driver.__dict__.setdefault("said", [])
    return said


def follow(tracker: Tracker, scene: Scene, ahead: bool = True) -> list[LabelMap]:
    """Every frame, the next one always waiting; a correction and a new object at the seventh."""
    maps, frames = [], [*scene.frames]
    for number, frame in enumerate(frames):
        if ahead:
            tracker.ahead = partial([*frames, None].__getitem__, number + 1)
        mask = scene.masks[number] if number in (0, 7) else None
        if number == 0:
            mask = np.where(scene.masks[0] == 2, 0, scene.masks[0]).astype(np.uint8)
        maps.append(tracker.step(Frame(frame, number), mask))
    return maps


def device_of(tracker: Tracker) -> DevicePropagator:
    assert isinstance(tracker._context, DevicePropagator)
    return tracker._context


@pytest.fixture(scope="module")
def expected(scene: Scene) -> Iterator[list[LabelMap]]:
    """Where nothing is recorded, sent ahead or late: each step on a host that does everything at once."""
    with Tracker(device_engine(Bundle.open(shipped_bundle())), SETTINGS) as tracker:
        yield follow(tracker, scene, ahead=False)


def assert_same(found: list[LabelMap], expected: list[LabelMap]) -> None:
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(have.ids, want.ids)
        np.testing.assert_allclose(have.soft, want.soft, atol=1e-6)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("integrated", [False, True])
def test_the_whole_step_is_one_graph(
    bundle: Bundle, scene: Scene, expected: list[LabelMap], early: bool, integrated: bool
) -> None:
    from dataclasses import replace

    driver = LateDriver(early)
    driver.facts = replace(driver.facts, integrated=integrated)
    with Tracker(engine_on(bundle, driver), SETTINGS) as tracker:
        found = follow(tracker, scene)
        last = [line for line in driver.log if not line.startswith("recorded ")][-5:]
        # Once for each buffer of frames; the label that comes with the correction makes them anew.
        assert device_of(tracker)._whole.recorded == 2
        assert device_of(tracker)._graphs.recorded == 0
        assert driver._captures == 4
        # Of 13 steps after the first frame, two before and two after the correction are not recorded yet.
        assert driver.launches.count("graph") == 13 - 4
    assert_same(found, expected)
    # Nothing else is launched in a step, and the host waits once.
    sent = [] if integrated else [f"upload {scene.frames[0].nbytes} on 12"]
    assert last[-3 - len(sent) - 1 :] == ["graph on 11", *sent, "synchronise 11", "graph on 11", "synchronise 11"]
    assert driver_said(driver) == []
    assert not driver._memory
    assert not driver._graphs


def test_the_next_frame_is_sent_after_the_step_is_queued_and_before_it_is_waited_for(
    bundle: Bundle, scene: Scene
) -> None:
    driver, frames = LateDriver(), [*scene.frames]
    with Tracker(engine_on(bundle, driver), SETTINGS) as tracker:
        tracker.step(frames[0], scene.masks[0])
        for frame in frames[1:4]:
            tracker.step(frame)
        driver.log.clear()
        tracker.ahead = lambda: frames[5]
        tracker.step(frames[4])
        size = frames[5].nbytes
        sent = driver.log.index(f"upload {size} on 12", 1)
        assert driver.log.index(f"upload {size} on 12") == 0, "its own frame, which was not announced"
        assert driver.log.index("graph on 11") < sent < driver.log.index("synchronise 11")
        driver.log.clear()
        tracker.ahead = lambda: None
        tracker.step(frames[5])
        assert f"upload {size} on 12" not in driver.log, "it is there already"


def test_a_frame_that_was_replaced_is_not_used(bundle: Bundle, scene: Scene) -> None:
    wrong = [np.full_like(frame, 255 - number) for number, frame in enumerate(scene.frames)]
    results = []
    for ahead in (False, True):
        with Tracker(engine_on(bundle, LateDriver(early=True)), SETTINGS) as tracker:
            if ahead:
                tracker.ahead = lambda: wrong.pop()
            maps = [tracker.step(frame, scene.masks[0] if n == 0 else None) for n, frame in enumerate(scene.frames)]
            results.append(maps)
    assert len(wrong) == 1, "each step but the first sends one ahead"
    assert_same(results[1], results[0])


@pytest.mark.parametrize(
    "waiting", [np.zeros((32, 40, 3), np.uint8), np.zeros((64, 96, 3)), np.zeros((64, 96, 6), np.uint8)[..., ::2], "x"]
)
def test_what_is_no_frame_like_the_others_is_left_to_its_turn(bundle: Bundle, scene: Scene, waiting: Any) -> None:
    driver = LateDriver()
    with Tracker(engine_on(bundle, driver), SETTINGS) as tracker:
        tracker.ahead = lambda: waiting
        tracker.step(scene.frames[0], scene.masks[0])
        tracker.step(scene.frames[1])
        assert sum(line.endswith("on 12") for line in driver.log) == 2, "the two frames themselves"


class Source(FrameSource):
    """A camera whose next frame comes when it is asked for by `feed`; the first one comes by itself."""

    name, live, fps, length = "camera", True, None, None

    def __init__(self, frames: list[NDArray[np.uint8]]) -> None:
        self.frames = frames
        self._wanted, self._offered, self._changed = 1, 0, threading.Condition()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to give back."""

    def feed(self) -> None:
        """Let another frame come, and wait until it is where the tracker takes it from."""
        with self._changed:
            self._wanted += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._offered >= min(self._wanted, len(self.frames)), 30)

    def __iter__(self) -> Iterator[Frame]:
        for number, image in enumerate(self.frames):
            with self._changed:
                assert self._changed.wait_for(lambda number=number: self._wanted > number, 30)  # type: ignore[misc]
            yield Frame(image, number)
            with self._changed:
                self._offered += 1
                self._changed.notify_all()


def test_a_live_stream_keeps_the_newest_and_its_accounts(bundle: Bundle, scene: Scene) -> None:
    # Frame 3 takes the place of frame 2, which is on the device by then; 4 and 5 are sent ahead and used.
    source = Source([*scene.frames[:6]])
    driver = LateDriver()
    engine = engine_on(bundle, driver)
    sent: list[int] = []
    real = engine.prefetch

    def prefetch(frame: NDArray[np.uint8]) -> None:
        real(frame)
        sent.append(next(n for n, other in enumerate(source.frames) if other is frame))
        if len(sent) == 1:
            source.feed()

    def before(frame: Frame) -> NDArray[np.uint8] | None:
        source.feed()
        return scene.masks[0] if frame.index == 0 else None

    engine.prefetch = prefetch  # type: ignore[method-assign]
    seen: list[LabelMap] = []
    with Tracker(engine, SETTINGS) as tracker:
        stats = run_stream(tracker, source, before_step=before, on_frame=lambda labels, _: seen.append(labels))
        assert tracker.ahead() is None, "the stream that ended is not asked any more"
    order = [labels.source_index for labels in seen]
    assert (order, sent) == ([0, 1, 3, 4, 5], [2, 4, 5])
    assert (stats.frames_in, stats.tracked, stats.dropped) == (6, 5, 1)
    assert sum(line.endswith("on 12") for line in driver.log) == 6, "each frame once"
    with Tracker(device_engine(bundle), SETTINGS) as tracker:
        again = [tracker.step(source.frames[n or 0], scene.masks[0] if n == 0 else None) for n in order]
    assert_same(seen, again)


def test_an_encoder_that_cannot_be_recorded_stays_outside(
    bundle: Bundle, scene: Scene, expected: list[LabelMap]
) -> None:
    class Refusing(EncodingContext):
        refuses = True

    driver = LateDriver()
    with Tracker(engine_on(bundle, driver, Refusing), SETTINGS) as tracker:
        found = follow(tracker, scene)
        assert device_of(tracker)._whole.recorded == 0
        assert device_of(tracker)._graphs.recorded == 1, (
            "the features are in one place, so one graph serves both buffers"
        )
    assert_same(found, expected)
    assert driver_said(driver) == [
        "the encoder is not recorded as a CUDA graph, and launched one by one: TensorRT could not start the encoder; "
        "the device may be out of memory or lost"
    ]


def test_new_weights_are_recorded_anew(bundle: Bundle, scene: Scene) -> None:
    class Refusing(EncodingContext):
        refuses = True

    results = []
    for context in (EncodingContext, Refusing):
        driver = LateDriver()
        engine = engine_on(bundle, driver, context)
        with Tracker(engine, SETTINGS) as tracker:
            maps = []
            for number, frame in enumerate(scene.frames):
                if number == 7:
                    # Features of twice the length, so that every frame after this one looks different.
                    engine.refit(bytes([10]))
                maps.append(tracker.step(frame, scene.masks[0] if number == 0 else None))
            assert driver._captures == (4 if context is EncodingContext else 1)
        results.append(maps)
    assert_same(*results)


def test_a_refit_of_onnx_runtime_keeps_the_old_session_until_its_frame_is_through(scene: Scene) -> None:
    driver = LateDriver()
    engine = device_engine(Bundle.open(shipped_bundle()), driver)
    engine.run_resident(scene.frames[0])
    old = engine._session.current
    engine.refit(Bundle.open(shipped_bundle()).read(ONNX))
    assert engine._running is old
    driver.log.clear()
    engine.run_resident(scene.frames[1])
    assert "synchronise 11" in driver.log
    assert engine._running is engine._session.current
    engine.close()


def test_the_cpu_is_never_asked_to_look_ahead(scene: Scene) -> None:
    with Tracker(open_engine(Bundle.open(shipped_bundle()), "cpu"), SETTINGS) as tracker:
        tracker.ahead = lambda: pytest.fail("nothing is sent anywhere on the CPU")
        tracker.step(scene.frames[0], scene.masks[0])
        tracker.step(scene.frames[1])


def test_the_benchmark_s_loop_does_what_the_tracker_does(bundle: Bundle) -> None:
    engine = engine_on(bundle, LateDriver())
    (_, plain, none), (times, maps, whole) = (
        gpu_encoder.follow(engine, SETTINGS, (64, 96), 9, g) for g in (False, True)
    )
    assert (none, whole, len(times)) == ("none", "whole", 8)
    for one, other in zip(plain, maps, strict=True):
        np.testing.assert_array_equal(one, other)
    engine.close()
