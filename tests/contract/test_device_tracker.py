"""A tracker whose features, context and label maps stay on a device: the same label maps as on the CPU.

The device is emulated, the encoder ONNX Runtime's own behind the names of its CUDA provider.
"""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.labels import LabelMap
from crwedge.core.scene import Scene, render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends import open as choice
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.backend import CudaBackend
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.onnx_cpu import CpuEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.tracker import Tracker
from crwedge.runtime.tracker_options import TrackerOptions
from tests.emulated_cuda import EmulatedCuda
from tests.emulated_engine import device_engine

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
SETTINGS = PropagationSettings(context_length=3, topk=4, radius=4, storage="float16")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


@pytest.fixture(scope="module")
def small_scene() -> Scene:
    """Six frames of 64 x 96 with two objects."""
    return render_scene(6, 64, 96)


FINE = SETTINGS.with_changes(label_scale=2, labels="area")


def on_cpu(bundle: Bundle, options: TrackerOptions | None = None, settings: PropagationSettings = SETTINGS) -> Tracker:
    return Tracker(CpuBackend(open_engine(bundle, "cpu"), settings), options)


def on_device(
    bundle: Bundle, options: TrackerOptions | None = None, settings: PropagationSettings = SETTINGS
) -> Tracker:
    return Tracker(CudaBackend(device_engine(bundle), settings), options)


def follow(tracker: Tracker, scene: Scene, gap_at: int | None = None) -> list[LabelMap]:
    """Every frame; the mask comes with the first, and a correction with the fourth."""
    maps = []
    for number, frame in enumerate(scene.frames):
        mask = scene.masks[number] if number in (0, 3) else None
        if number == 0:
            mask = np.where(scene.masks[0] == 2, 0, scene.masks[0]).astype(np.uint8)
        maps.append(tracker.step(Frame(frame, number, after_gap=number == gap_at), mask))
    return maps


@pytest.mark.parametrize(
    ("settings", "size", "gap_at"),
    [
        (SETTINGS, None, None),
        (SETTINGS, (48, 72), None),
        (SETTINGS, None, 2),
        (FINE, None, None),
        (FINE.with_changes(cells=96), None, 2),
    ],
)
def test_the_same_label_maps(
    bundle: Bundle,
    small_scene: Scene,
    settings: PropagationSettings,
    size: tuple[int, int] | None,
    gap_at: int | None,
) -> None:
    options = TrackerOptions(size, confidence=True)
    with on_cpu(bundle, options, settings) as cpu, on_device(bundle, options, settings) as tracker:
        expected, found = follow(cpu, small_scene, gap_at), follow(tracker, small_scene, gap_at)
        assert tracker.object_ids == cpu.object_ids
        # Once more after a reset, as the first time.
        tracker.reset()
        again = follow(tracker, small_scene, gap_at)
    for want, have, second in zip(expected, found, again, strict=True):
        # A frame that is made smaller on the device may differ by one grey level.
        assert (have.ids == want.ids).mean() >= (0.999 if size is None else 0.99)
        np.testing.assert_array_equal(have.ids, second.ids)
        assert have.states == want.states
        assert have.confidence == pytest.approx(dict(want.confidence), abs=0.02 if size is None else 0.1)
        assert bool(have.confidence) == (have.index not in (0, 3))


@pytest.mark.parametrize("settings", [SETTINGS, FINE])
def test_a_state_goes_from_one_tracker_to_another(
    bundle: Bundle, small_scene: Scene, settings: PropagationSettings
) -> None:
    with (
        on_device(bundle, None, settings) as first,
        on_device(bundle, None, settings) as second,
        on_cpu(bundle, None, settings) as third,
    ):
        for number in range(3):
            first.step(small_scene.frames[number], small_scene.masks[0] if number == 0 else None)
        for other in (second, third):
            other.restore(first.state())
        want, have, near = (tracker.step(small_scene.frames[3]) for tracker in (first, second, third))
        np.testing.assert_array_equal(have.ids, want.ids)
        np.testing.assert_array_equal(have.soft, want.soft)
        # The CPU compares the frame in float32, the device in float16.
        np.testing.assert_allclose(near.soft, want.soft, atol=2e-3)


class NewWeights:
    """An adapter that has other weights at the third frame, and lets the context be encoded again."""

    recompute = True

    def __init__(self, onnx: bytes) -> None:
        self._onnx = onnx

    def start(self, bundle: Bundle, engine: Any, *_: object) -> None:
        self._engine = engine

    def prepare(self, frame: NDArray[np.uint8], index: int) -> Any:
        if index != 2:
            return None
        self._engine.refit(self._onnx)
        return self._engine

    def features(self, frame: NDArray[np.uint8]) -> None:
        return None

    def reset(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to give back."""


def changed_onnx(bundle: Bundle) -> bytes:
    """The bundle's network with other weights."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model, rng = onnx.load_from_string(bundle.read(ONNX)), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4 and values.dtype in (np.float16, np.float32):
            noisy = values * (1 + 0.3 * rng.standard_normal(values.shape))
            tensor.CopyFrom(onnx.numpy_helper.from_array(noisy.astype(values.dtype), tensor.name))
    return bytes(model.SerializeToString())


def test_new_weights_and_a_context_that_is_encoded_again(bundle: Bundle, small_scene: Scene) -> None:
    onnx, maps = changed_onnx(bundle), []
    for adapter in (None, NewWeights(onnx)):
        for backend in (
            CpuBackend(open_engine(bundle, "cpu"), SETTINGS, keep_frames=True),
            CudaBackend(device_engine(bundle), SETTINGS, keep_frames=True),
        ):
            if adapter is not None:
                adapter.start(bundle, backend.engine)
            with Tracker(backend, adapter=adapter) as tracker:
                maps.append(follow(tracker, small_scene))
    plain, _, cpu, device = maps
    for want, have in zip(cpu, device, strict=True):
        assert (have.ids == want.ids).mean() >= 0.999
        # The CPU compares a frame in float32, the device in float16.
        np.testing.assert_allclose(have.soft, want.soft, atol=5e-3)
    assert np.abs(plain[2].soft - cpu[2].soft).max() > 0.05


def test_two_trackers_take_turns_on_one_device(bundle: Bundle, small_scene: Scene) -> None:
    with on_device(bundle) as tracker:
        expected = [tracker.step(f, small_scene.masks[0] if n == 0 else None) for n, f in enumerate(small_scene.frames)]
    driver = EmulatedCuda()
    trackers = [Tracker(CudaBackend(device_engine(bundle, driver), SETTINGS)) for _ in range(2)]
    turns = [*small_scene.frames[:3]]
    for number, frame in enumerate(turns):
        first = trackers[0].step(frame, small_scene.masks[0] if number == 0 else None)
        trackers[1].step(turns[-1 - number], small_scene.masks[2] if number == 0 else None)
        np.testing.assert_array_equal(first.soft, expected[number].soft)
    trackers[1].close()
    np.testing.assert_array_equal(trackers[0].step(small_scene.frames[3]).soft, expected[3].soft)
    trackers[0].close()
    assert not driver.memory


def test_auto_goes_on_on_the_cpu_when_the_device_is_too_small(
    bundle: Bundle, small_scene: Scene, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    driver = EmulatedCuda(memory_bytes=300_000)

    def opened(name: str, *_: object) -> Any:
        if name == "tensorrt":
            return device_engine(bundle, driver)
        if name == "cuda":
            raise DeviceError("there is no NVIDIA GPU")
        return CpuEngine(bundle)

    monkeypatch.setattr(choice, "_open", opened)
    monkeypatch.setattr(choice, "missing_driver", lambda: None)
    with Tracker.open(bundle, "auto", SETTINGS, TrackerOptions((64, 96))) as tracker:
        labels = tracker.step(small_scene.frames[0], small_scene.masks[0])
        assert (labels.ids == small_scene.masks[0]).all()
        tracker.step(small_scene.frames[1])
        assert isinstance(tracker.backend, CpuBackend)
    assert len(said) == 2
    assert "out of device memory" in said[0]
    assert driver.owners == 1
    assert not driver.memory


def test_a_named_device_that_is_too_small_is_one_line(bundle: Bundle, small_scene: Scene) -> None:
    driver = EmulatedCuda(memory_bytes=300_000)
    tracker = Tracker(CudaBackend(device_engine(bundle, driver), SETTINGS))
    with pytest.raises(DeviceError, match="out of device memory") as failed:
        tracker.step(small_scene.frames[0], small_scene.masks[0])
    assert "\n" not in failed.value.args[0]
    tracker.close()
