"""What every backend must do with its context: a long life, states, other weights, memory, several streams."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Backend, ContextState, Prediction, Search
from crwedge.runtime.propagation.view import View
from tests.backends import (
    CHANNELS,
    GRID,
    MAKERS,
    SETTINGS,
    SIZE,
    CellEngine,
    Make,
    cpu,
    cuda,
    random_soft,
    video,
    views,
    whole,
)
from tests.emulated_cuda import EmulatedCuda

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")


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
                # An object is new.
                backend.edit_labels(np.eye(count, count + 1, dtype=np.float32))
                count += 1
            prediction = backend.label(features, random_soft(count, view.grid, seed=t))
            trace.add(prediction)
        if t == 13:
            # The prediction was made before, and has one channel less than the context.
            backend.edit_labels(np.eye(count, count + 1, dtype=np.float32))
            count += 1
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
    assert state.tensors["features"].dtype == np.float16
    assert state.tensors["labels"].shape[0] == len(state.facts["slots"])
    assert state.tensors["labels"].shape[1] >= max(where(i).cells for i in (0, 3, 4, 5))
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
    frames, other, elsewhere = video(6), CellEngine(weights=1), CellEngine(weights=2)
    backend, expected = make(SETTINGS, keep_frames=True), cpu(SETTINGS, weights=1)
    for t in range(5):
        # Labels come from outside, so that they do not depend on the weights.
        soft = random_soft(2, where(t).grid, seed=t)
        if t in (3, 4):
            expected.use(elsewhere if t == 3 else CellEngine(weights=1))
        for one in (backend, expected):
            one.remember(one.label(one.encode(frames[t], where(t)), soft), pinned=t == 0, trust=1)
    known = frames[3]
    asked: list[int] = []

    def features_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        asked.append(next(number for number, frame in enumerate(frames) if frame is pixels))
        if pixels is frames[4]:
            return np.zeros((CHANNELS, 1, 2), np.float32)  # of another size than the context's: encoded here
        return elsewhere.run(where(3).pixels(pixels)) if pixels is known else None

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


def test_features_outlive_a_reset(make: Make) -> None:
    frame, soft, backend = video(1)[0], random_soft(2, GRID), make()
    features = backend.encode(frame, whole(0))
    before = features.numpy().copy()
    backend.clear()
    backend.remember(backend.label(features, soft), pinned=True, trust=1)
    np.testing.assert_array_equal(features.numpy(), before)
    first = backend.state()
    np.testing.assert_allclose(first.tensors["labels"][0], soft.reshape(2, -1).T, atol=1e-6)


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
