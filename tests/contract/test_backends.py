"""What every backend must do, run against the CPU and against a CUDA device that is emulated (`tests/emulated_cuda.py`)."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Backend, ContextState, Prediction, Search
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.encode import EncoderOutput
from crwedge.runtime.propagation.view import View
from tests import reference
from tests.emulated_cuda import EmulatedCuda

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
CHANNELS = 20
SIZE = (88, 104)
GRID = (11, 13)
SETTINGS = PropagationSettings(context_length=3, topk=5, radius=3, storage="float16", max_pinned=2)


class CellEngine:
    """Unit-length features that float16 holds, each of the pixels of its own cell alone; `weights` chooses the encoder."""

    name = "cells 1.0"

    def __init__(self, weights: int = 0) -> None:
        self._matrix = np.random.default_rng(weights).normal(size=(192, CHANNELS))
        self.closed = False

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width, _ = frame.shape
        padded = np.pad(frame, ((0, -height % 8), (0, -width % 8), (0, 0)))
        h, w = padded.shape[0] // 8, padded.shape[1] // 8
        cells = padded.reshape(h, 8, w, 8, 3).transpose(0, 2, 1, 3, 4).reshape(h * w, 192)
        features = (cells / 127.5 - 1) @ self._matrix
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
        return np.ascontiguousarray(features.T.astype(np.float16), np.float32).reshape(CHANNELS, h, w)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class CellEngineOnDevice(CellEngine):
    """The same with its output in device memory."""

    def __init__(self, driver: EmulatedCuda, weights: int = 0) -> None:
        super().__init__(weights)
        self.driver, self.stream = driver.retain(), driver.stream()
        self._address = 0

    def run_resident(self, frame: NDArray[np.uint8], view: View) -> EncoderOutput:
        features = self.run(view.pixels(frame))
        if self._address:
            self.driver.free(self._address)
        self._address = self.driver.allocate(features.nbytes)
        self.driver.upload(self._address, features, self.stream)
        return EncoderOutput(self._address, (features.shape[0], features.shape[1], features.shape[2]))

    def close(self) -> None:
        super().close()
        self.driver.close()


Make = Callable[..., Backend]


def cpu(settings: PropagationSettings = SETTINGS, weights: int = 0, keep_frames: bool = False) -> Backend:
    return CpuBackend(CellEngine(weights), settings, 2, keep_frames)


def cuda(
    settings: PropagationSettings = SETTINGS,
    weights: int = 0,
    keep_frames: bool = False,
    driver: EmulatedCuda | None = None,
) -> Backend:
    own = driver or EmulatedCuda()
    engine = CellEngineOnDevice(own, weights)
    if driver is None:
        own.close()
    return CudaBackend(engine, settings, keep_frames)


def cuda_fed_by_cpu(settings: PropagationSettings = SETTINGS, weights: int = 0, keep_frames: bool = False) -> Backend:
    return CudaBackend(CellEngine(weights), settings, keep_frames, driver=EmulatedCuda(), key_splits=3)


MAKERS: dict[str, Make] = {"cpu": cpu, "cuda": cuda, "cuda, engine elsewhere": cuda_fed_by_cpu}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes backends of one kind and closes them."""
    made: list[Backend] = []

    def maker(*arguments: Any, **options: Any) -> Backend:
        made.append(MAKERS[request.param](*arguments, **options))
        return made[-1]

    yield maker
    for backend in made:
        backend.close()
        assert backend.engine.closed  # type: ignore[attr-defined]


def video(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> list[NDArray[np.uint8]]:
    """A random texture that moves two pixels a frame, under noise."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (*size, 3))
    noisy = [np.roll(base, 2 * t, axis=1) + rng.integers(-30, 31, base.shape) for t in range(count)]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy]


def random_soft(labels: int, grid: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return np.ascontiguousarray(rng.dirichlet(np.full(labels, 0.3), size=grid).transpose(2, 0, 1), np.float32)


def views(number: int) -> View:
    """Rectangles that move, grow and shrink; the third is the whole frame, the sixth hardly touches the others."""
    rectangles = [
        ((2, 3), (5, 6)),
        ((3, 3), (4, 8)),
        ((0, 0), GRID),
        ((1, 4), (6, 6)),
        ((4, 5), (7, 3)),
        ((0, 11), (2, 2)),
    ]
    return View(SIZE, *rectangles[number % len(rectangles)])


def whole(_: int) -> View:
    return View.whole(SIZE)


CASES = {
    "crw": SETTINGS,
    "restricted first frame": SETTINGS.with_changes(first_frame="restricted"),
    "square, empty start": SETTINGS.with_changes(window="square", radius=2, first_frame="restricted", prefill=False),
    "no restriction": SETTINGS.with_changes(radius=math.inf, context_length=2),
    "k in each frame": SETTINGS.with_changes(topk_over="frame", topk=3),
    "k in each frame, restricted": SETTINGS.with_changes(topk_over="frame", radius=1.5, first_frame="restricted"),
    "k 1": SETTINGS.with_changes(topk=1),
    "k 32": SETTINGS.with_changes(topk=32, temperature=0.2, radius=4),
    "fewer cells than k": SETTINGS.with_changes(
        context_length=1, topk=32, radius=1.5, first_frame="restricted", prefill=False
    ),
    "radius beyond the grid": SETTINGS.with_changes(context_length=2, radius=40, first_frame="restricted"),
}


@pytest.mark.parametrize("where", [whole, views])
@pytest.mark.parametrize("name", CASES)
def test_soft_labels_equal_the_reference(make: Make, name: str, where: Callable[[int], View]) -> None:
    settings, frames, engine = CASES[name], video(7), CellEngine()
    backend = make(settings)
    options = {
        name: getattr(settings, name) for name in ("radius", "temperature", "window", "first_frame", "topk_over")
    }
    seen = [engine.run(where(t).pixels(frame)) for t, frame in enumerate(frames)]
    labels = [random_soft(3, where(0).grid).astype(np.float64)]
    features = backend.encode(frames[0], where(0))
    np.testing.assert_array_equal(features.numpy(), seen[0])
    backend.remember(backend.label(features, labels[0].astype(np.float32)), pinned=True, trust=1)
    for t in range(1, len(frames)):
        context = reference.context_of(t, settings.context_length, settings.prefill)
        if settings.topk_over == "frame":
            context = sorted(context)  # copies weigh as much as frames of their own
        want, _ = reference.step_in_views(
            seen[t], where(t).origin, [seen[i] for i in context], [where(i).origin for i in context],
            [labels[i] for i in context], k=settings.topk, **options,
        )  # fmt: skip
        prediction = backend.propagate(backend.encode(frames[t], where(t)), Search(settings))
        np.testing.assert_allclose(prediction.soft, want, atol=1e-5)
        labels.append(want)
        backend.remember(prediction, pinned=False, trust=1)


@pytest.mark.parametrize("topk_over", ["joint", "frame"])
@pytest.mark.parametrize("where", [whole, views])
def test_entropy_equals_the_reference(make: Make, topk_over: str, where: Callable[[int], View]) -> None:
    settings = SETTINGS.with_changes(topk_over=topk_over, prefill=False, first_frame="restricted")
    frames, engine = video(3), CellEngine()
    backend = make(settings)
    soft = random_soft(2, where(0).grid)
    seen = [engine.run(where(t).pixels(frame)) for t, frame in enumerate(frames)]
    backend.remember(backend.label(backend.encode(frames[0], where(0)), soft), pinned=True, trust=1)
    for t in (1, 2):
        prediction = backend.propagate(backend.encode(frames[t], where(t)), Search(settings, newest=0, entropy=True))
        _, want = reference.step_in_views(
            seen[t], where(t).origin, [seen[0]], [where(0).origin], [soft.astype(np.float64)], k=settings.topk,
            radius=settings.radius, temperature=settings.temperature, first_frame="restricted", topk_over=topk_over,
        )  # fmt: skip
        np.testing.assert_allclose(cast(Any, prediction).entropy, want.ravel(), atol=1e-4)
        backend.remember(prediction, pinned=False, trust=1)


@pytest.mark.parametrize("labels", [2, 3, 40])
@pytest.mark.parametrize("size", [(70, 85), SIZE, (31, 300), (5, 6)])
def test_ids_are_the_reference_s_and_background_outside_the_view(
    make: Make, labels: int, size: tuple[int, int]
) -> None:
    backend, frame = make(), video(1)[0]
    ids = tuple(range(3, 2 + labels))
    for view in (View.whole(SIZE), views(0), views(5)):
        soft = random_soft(labels, view.grid, seed=labels)
        have = backend.label(backend.encode(frame, view), soft).ids(ids, size)
        full = np.pad(
            soft.astype(np.float64),
            [(0, 0)] + [(o, total - o - n) for o, n, total in zip(view.origin, view.grid, GRID, strict=True)],
            mode="edge",  # positions are clamped to the view
        )
        table = np.array((0, *ids), np.uint8)
        want = np.zeros(size, np.uint8)
        box = view.frame_box(size)
        want[box] = table[reference.resize_linear_fast(full, size).argmax(axis=0)][box]
        assert (have == want).mean() >= 0.999
        outside = np.ones(size, np.bool_)
        outside[box] = False
        assert not have[outside].any()


@pytest.mark.parametrize("view", [View.whole(SIZE), views(3)])
def test_stretched_maps_are_the_cpu_s(make: Make, view: View) -> None:
    settings = SETTINGS.with_changes(output_norm="minmax")
    frame, soft = video(1)[0], random_soft(3, view.grid)
    one, other = make(settings), cpu(settings)
    have, want = (b.label(b.encode(frame, view), soft).ids((1, 2), (70, 85)) for b in (one, other))
    assert (have == want).mean() >= 0.999
    assert set(np.unique(want)) == {0, 1, 2}
    other.close()


class Trace:
    """What a scenario gave: soft labels, label maps and signs of each frame, and the state at the end."""

    def __init__(self) -> None:
        self.soft: list[NDArray[np.float32]] = []
        self.ids: list[NDArray[np.uint8]] = []
        self.signs: list[Any] = []
        self.state: ContextState | None = None

    def add(self, prediction: Prediction, signs: bool = False) -> None:
        self.soft.append(prediction.soft)
        self.ids.append(prediction.ids(tuple(range(1, prediction.soft.shape[0])), SIZE))
        self.signs.append(prediction.confidence_signs() if signs else None)

    def assert_equals(self, other: Trace) -> None:
        for one, two in zip(self.soft, other.soft, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
        for left, right in zip(self.ids, other.ids, strict=True):
            assert (left == right).mean() >= 0.999
        for these, those in zip(self.signs, other.signs, strict=True):
            assert (these is None) == (those is None)
            for a, b in zip(these or [], those or [], strict=True):
                assert (a is None) == (b is None)
                assert a is None or b is None or all(math.isclose(a[name], b[name], abs_tol=1e-4) for name in a)
        if self.state is not None and other.state is not None:
            assert self.state.facts == other.state.facts
            for name, tensor in self.state.tensors.items():
                assert tensor.dtype == other.state.tensors[name].dtype
                np.testing.assert_allclose(tensor, other.state.tensors[name], atol=1e-5)


def live(backend: Backend, where: Callable[[int], View], frames: list[NDArray[np.uint8]], trace: Trace) -> None:
    """Corrections, objects that come and go, mistrust, quality levels: whatever a tracker does, in a long scenario."""
    settings, narrow = backend.settings, backend.settings.with_changes(radius=2)
    count = 2
    for t, frame in enumerate(frames):
        view = where(t)
        features = backend.encode(frame, view)
        assert (features.view, features.channels) == (view, CHANNELS)
        assert features.pixels is frame
        if t == 0:
            prediction = backend.label(features, random_soft(count, view.grid))
            backend.remember(prediction, pinned=True, trust=1)
            trace.add(prediction)
            continue
        search = Search(narrow if t % 4 == 3 else settings, newest=2 if t == 6 else None, entropy=True)
        prediction = backend.propagate(features, search)
        trace.add(prediction, signs=True)
        if t in (4, 9, 10):
            if t == 4:
                # An object is new; on the device, a prediction that was made before has one channel less.
                backend.edit_labels(np.eye(count, count + 1, dtype=np.float32))
                count += 1
            prediction = backend.label(features, random_soft(count, view.grid, seed=t))
            trace.add(prediction)
        backend.remember(prediction, pinned=t in (4, 9, 10), trust=0.2 + 0.1 * (t % 5))
        if t == 7:
            # The first object goes: its cells become background.
            count -= 1
            backend.edit_labels(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
        if t == 12:
            backend.keep_trusted(0.35, 2)
    trace.state = backend.state()


@pytest.mark.parametrize("where", [whole, views])
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        SETTINGS.with_changes(max_pinned=1, prefill=False, context_length=2),
        SETTINGS.with_changes(topk_over="frame", topk=3, window="square", first_frame="restricted"),
    ],
)
def test_a_long_life_is_the_cpu_s(make: Make, settings: PropagationSettings, where: Callable[[int], View]) -> None:
    frames, expected = video(16), Trace()
    other = cpu(settings)
    live(other, where, frames, expected)
    other.close()
    backend, found = make(settings), Trace()
    assert backend.empty
    live(backend, where, frames, found)
    assert not backend.empty
    found.assert_equals(expected)
    # Once more after a reset, as the first time.
    backend.clear()
    assert backend.empty
    assert backend.nbytes == 0
    again = Trace()
    live(backend, where, frames, again)
    for one, two in zip(found.soft, again.soft, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("to", MAKERS)
@pytest.mark.parametrize("where", [whole, views])
def test_a_state_goes_from_one_backend_to_another(make: Make, to: str, where: Callable[[int], View]) -> None:
    frames, first, second = video(9), make(), MAKERS[to]()
    first.remember(first.label(first.encode(frames[0], where(0)), random_soft(3, where(0).grid)), pinned=True, trust=1)
    for t in range(1, 6):
        first.remember(
            first.propagate(first.encode(frames[t], where(t)), Search(SETTINGS)), pinned=False, trust=0.1 * t
        )
    state = first.state()
    largest = max(where(i).cells for i in range(6))
    assert state.tensors["features"].dtype == np.float16
    assert state.tensors["labels"].shape[0] == len(state.facts["slots"])
    assert max(where(i).cells for i in range(2, 6)) <= state.tensors["labels"].shape[1] <= largest
    second.restore(state)
    again = second.state()
    assert again.facts == state.facts
    for t in range(6, 9):
        traces = []
        for backend in (first, second):
            prediction = backend.propagate(backend.encode(frames[t], where(t)), Search(SETTINGS))
            backend.remember(prediction, pinned=False, trust=1)
            traces.append(prediction.soft)
        np.testing.assert_allclose(traces[0], traces[1], atol=1e-5)
    second.close()


def test_a_damaged_state_is_refused(make: Make) -> None:
    backend, frame = make(), video(1)[0]
    backend.remember(backend.label(backend.encode(frame, whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    state = backend.state()
    short = {name: tensor[:, :-1] for name, tensor in state.tensors.items()}
    for broken in (
        ContextState(short, state.facts),
        ContextState({**state.tensors, "labels": state.tensors["labels"][:0]}, state.facts),
        ContextState(state.tensors, {**state.facts, "length": 7}),
        ContextState(state.tensors, {**state.facts, "slots": [1]}),
        ContextState({**state.tensors, "features": state.tensors["features"].astype(np.float32)}, state.facts),
    ):
        with pytest.raises(ValueError, match="context"):
            make().restore(broken)


@pytest.mark.parametrize("where", [whole, views])
def test_the_context_is_encoded_again_with_other_weights(make: Make, where: Callable[[int], View]) -> None:
    frames, other = video(6), CellEngine(weights=1)
    backend, expected = make(SETTINGS, keep_frames=True), cpu(SETTINGS, weights=1)
    for t in range(5):
        # Labels come from outside, so that they do not depend on the weights.
        soft = random_soft(2, where(t).grid, seed=t)
        for one in (backend, expected):
            one.remember(one.label(one.encode(frames[t], where(t)), soft), pinned=t == 0, trust=1)
    known = frames[3]
    asked: list[int] = []

    def features_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        asked.append(next(number for number, frame in enumerate(frames) if frame is pixels))
        if pixels is frames[4]:
            return np.zeros((CHANNELS, 1, 2), np.float32)  # of another size than the context's: encoded here
        return other.run(where(3).pixels(pixels)) if pixels is known else None

    before = backend.engine
    backend.use(other)
    backend.use(other)
    assert before.closed  # type: ignore[attr-defined]
    assert backend.engine is other
    backend.encode_again(features_of)
    assert sorted(asked) == [0, 2, 3, 4]
    have, want = (b.propagate(b.encode(frames[5], where(5)), Search(SETTINGS)).soft for b in (backend, expected))
    np.testing.assert_allclose(have, want, atol=1e-5)
    expected.close()


def test_features_that_are_not_finite_are_refused_and_the_next_frame_goes_on(make: Make) -> None:
    class Broken(CellEngine):
        def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            features = super().run(frame)
            features[3, 2, 5] = np.nan
            return features

    frames, backend = video(2), make()
    soft = random_soft(2, GRID)
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), soft), pinned=True, trust=1)
    good = backend.encode(frames[1], whole(1))
    backend.use(Broken())
    bad = backend.encode(frames[1], whole(1))
    for use in (lambda: backend.propagate(bad, Search(SETTINGS)), lambda: backend.label(bad, soft)):
        with pytest.raises(CrwedgeError, match="not finite"):
            use()
    assert np.isfinite(backend.propagate(good, Search(SETTINGS)).soft).all()


def test_a_frame_of_another_scale_is_refused(make: Make) -> None:
    frame, backend = video(1)[0], make()
    backend.remember(backend.label(backend.encode(frame, whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    with pytest.raises(CrwedgeError, match="do not fit a context"):
        backend.propagate(backend.encode(frame, View.whole((48, 56))), Search(SETTINGS))


def test_predictions_stay_valid_whatever_comes_and_memory_does_not_grow(make: Make) -> None:
    frames, backend = video(40), make()
    soft = random_soft(3, GRID)
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), soft), pinned=True, trust=1)
    held: list[tuple[Prediction, NDArray[np.float32], NDArray[np.uint8]]] = []
    sizes = []
    for t, frame in enumerate(frames[1:], start=1):
        prediction = backend.propagate(backend.encode(frame, whole(t)), Search(SETTINGS))
        if t % 3 == 0:
            del prediction  # dropped without being remembered
            continue
        held.append((prediction, prediction.soft.copy(), prediction.ids((1, 2), SIZE)))
        backend.remember(prediction, pinned=t == 16, trust=1)
        if t == 10:
            backend.edit_labels(np.eye(3, 4, dtype=np.float32))
        held = held[-4:]
        for one, labels, ids in held:
            np.testing.assert_array_equal(one.soft, labels)
            np.testing.assert_array_equal(one.ids((1, 2), SIZE), ids)
        gc.collect()
        sizes.append(backend.nbytes)
    assert len(set(sizes[-6:])) == 1


def test_two_predictions_of_one_frame(make: Make) -> None:
    frames, backend = video(2), make()
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    features = backend.encode(frames[1], whole(1))
    wide, narrow = (backend.propagate(features, Search(SETTINGS.with_changes(radius=r))) for r in (8, 1.5))
    first = wide.soft.copy()
    assert np.abs(wide.soft - narrow.soft).max() > 1e-3
    backend.remember(narrow, pinned=False, trust=1)
    np.testing.assert_array_equal(wide.soft, first)
    state = backend.state()
    np.testing.assert_allclose(state.tensors["labels"][-1], narrow.soft.reshape(2, -1).T, atol=1e-6)


def test_a_prediction_of_another_backend_is_taken(make: Make) -> None:
    frames, other, backend = video(2), cpu(), make()
    prediction = other.label(other.encode(frames[0], whole(0)), random_soft(2, GRID))
    for one in (other, backend):
        one.remember(prediction, pinned=True, trust=1)
    features = other.encode(frames[1], whole(1))
    have, want = (one.propagate(features, Search(SETTINGS)).soft for one in (backend, other))
    np.testing.assert_allclose(have, want, atol=1e-5)
    other.close()


def test_two_streams_side_by_side_on_one_device() -> None:
    driver = EmulatedCuda()
    videos = [video(6, seed=seed) for seed in (1, 2)]
    alone = []
    for frames in videos:
        backend, trace = cpu(), Trace()
        live(backend, whole, frames, trace)
        backend.close()
        alone.append(trace)
    backends, traces = [cuda(driver=driver), cuda(driver=driver)], [Trace(), Trace()]
    predictions: list[Prediction | None] = [None, None]
    for t in range(6):
        for number, backend in enumerate(backends):
            features = backend.encode(videos[number][t], whole(t))
            search = Search(SETTINGS.with_changes(radius=2) if t % 4 == 3 else SETTINGS, entropy=True)
            found = backend.label(features, random_soft(2, GRID)) if t == 0 else backend.propagate(features, search)
            if t != 4:
                traces[number].add(found, signs=t > 0)
                backend.remember(found, pinned=t == 0, trust=0.2 + 0.1 * (t % 5))
            predictions[number] = found
    for number in (0, 1):
        for one, two in pairwise([traces[number].soft[:4], alone[number].soft[:4]]):
            for have, want in zip(one, two, strict=True):
                np.testing.assert_allclose(have, want, atol=1e-5)
    last = predictions[1]
    assert last is not None
    backends[0].close()
    want = last.soft.copy()
    assert np.isfinite(backends[1].propagate(backends[1].encode(videos[1][5], whole(5)), Search(SETTINGS)).soft).all()
    np.testing.assert_array_equal(last.soft, want)
    backends[1].close()
    del predictions, last, found, features
    gc.collect()
    driver.close()
    assert driver.owners == 0


def test_a_device_gets_everything_back_but_what_is_held() -> None:
    driver = EmulatedCuda()
    backend, frames = cuda(driver=driver), video(2)
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    prediction = backend.propagate(backend.encode(frames[1], whole(1)), Search(SETTINGS))
    backend.close()
    held = len(driver.memory)
    assert np.isfinite(prediction.soft).all()
    assert held == 4, "features, labels and bitmask of the prediction, and the engine's own output"
    del prediction
    gc.collect()
    assert len(driver.memory) == 1
    driver.close()
    assert not driver.memory


def test_a_frame_is_three_launches() -> None:
    driver = EmulatedCuda()
    backend, frames = cuda(driver=driver), video(2)
    backend.remember(backend.label(backend.encode(frames[0], whole(0)), random_soft(2, GRID)), pinned=True, trust=1)
    backend.propagate(backend.encode(frames[1], whole(1)), Search(SETTINGS)).ids((1,), SIZE)
    assert driver.launches == ["store_features", "store_features", "topk_attention", "merge_topk", "upsample_argmax"]
    backend.close()
    driver.close()
