"""A tracker whose features, context and label maps stay on a device: the same label maps as on the CPU.

The device is a CPU with the plain kernels, the encoder ONNX Runtime's own behind the names of its CUDA provider.
"""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.scene import Scene
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends import open as choice
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.host import HostDriver
from crwedge.runtime.backends.onnx_cuda import PROVIDERS, CudaEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.placement import OnDevice, OnHost
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.tracker import Tracker

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
SETTINGS = PropagationSettings(context_length=3, topk=4, radius=4, storage="float16")


class FakeCudaSession:
    """ONNX Runtime on the CPU that reads and writes the addresses it is bound to."""

    def __init__(self, onnx: bytes, options: Any, providers: Any) -> None:
        import onnxruntime as ort

        one_thread = ort.SessionOptions()
        one_thread.intra_op_num_threads = 1
        self._real = ort.InferenceSession(onnx, one_thread, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._real.get_inputs, self._real.get_outputs

    def get_providers(self) -> list[str]:
        return [PROVIDERS[0]]

    def io_binding(self) -> Any:
        bound: dict[str, Any] = {}
        return SimpleNamespace(
            bind_input=lambda *values: bound.update(input=values),
            bind_output=lambda *values: bound.update(output=values),
            bound=bound,
        )

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        *_, shape, address = binding.bound["input"]
        pixels = np.empty(shape, np.uint8)
        HostDriver().download(pixels, address, 1)
        (features,) = self._real.run(None, {self._real.get_inputs()[0].name: pixels})
        *_, shape, address = binding.bound["output"]
        assert features.shape == shape
        HostDriver().upload(address, features, 1)


def device_engine(bundle: Bundle, driver: HostDriver | None = None) -> CudaEngine:
    ort = SimpleNamespace(
        __version__="0.fake", InferenceSession=FakeCudaSession, SessionOptions=SimpleNamespace,
        RunOptions=lambda: SimpleNamespace(add_run_config_entry=lambda *_: None),
        get_available_providers=lambda: list(PROVIDERS),
    )  # fmt: skip
    return CudaEngine(bundle, driver=driver or HostDriver(), ort=ort)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


def follow(tracker: Tracker, scene: Scene, gap_at: int | None = None) -> list[NDArray[np.uint8]]:
    """Every frame; the mask comes with the first, and a correction with the fourth."""
    maps = []
    for number, frame in enumerate(scene.frames):
        mask = scene.masks[number] if number in (0, 3) else None
        if number == 0:
            mask = np.where(scene.masks[0] == 2, 0, scene.masks[0]).astype(np.uint8)
        maps.append(tracker.step(Frame(frame, number, after_gap=number == gap_at), mask).ids)
    return maps


@pytest.mark.parametrize(("size", "gap_at"), [(None, None), ((48, 72), None), (None, 2)])
def test_the_same_label_maps(
    bundle: Bundle, small_scene: Scene, size: tuple[int, int] | None, gap_at: int | None
) -> None:
    with Tracker(open_engine(bundle, "cpu"), SETTINGS, size) as cpu:
        expected = follow(cpu, small_scene, gap_at)
        assert isinstance(cpu._placement, OnHost)
    with Tracker(device_engine(bundle), SETTINGS, size) as tracker:
        found = follow(tracker, small_scene, gap_at)
        assert isinstance(tracker._placement, OnDevice)
        assert tracker.object_ids == cpu.object_ids
        # Once more after a reset, as the first time.
        tracker.reset()
        again = follow(tracker, small_scene, gap_at)
    for want, have, second in zip(expected, found, again, strict=True):
        # A frame that is made smaller on the device may differ by one grey level.
        assert (have == want).mean() >= (0.999 if size is None else 0.99)
        np.testing.assert_array_equal(have, second)


def test_a_state_goes_from_one_tracker_to_another(bundle: Bundle, small_scene: Scene) -> None:
    with Tracker(device_engine(bundle), SETTINGS) as first, Tracker(device_engine(bundle), SETTINGS) as second:
        for number in range(3):
            first.step(small_scene.frames[number], small_scene.masks[0] if number == 0 else None)
        second.restore(first.state())
        want, have = (tracker.step(small_scene.frames[3]) for tracker in (first, second))
        np.testing.assert_array_equal(have.ids, want.ids)
        np.testing.assert_array_equal(have.soft, want.soft)


def test_what_only_the_cpu_can_do_is_done_there(bundle: Bundle, small_scene: Scene) -> None:
    with Tracker(device_engine(bundle), SETTINGS) as tracker:
        tracker.watch = True
        tracker.step(small_scene.frames[0], small_scene.masks[0])
        assert isinstance(tracker._placement, OnHost)
        assert tracker.step(small_scene.frames[1]).confidence


def test_auto_goes_on_on_the_cpu_when_the_device_is_too_small(
    bundle: Bundle, small_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str, *_: object) -> Any:
        if name == "tensorrt":
            return device_engine(bundle, HostDriver(memory_bytes=300_000))
        if name == "cuda":
            raise DeviceError("there is no NVIDIA GPU")
        return cpu(bundle)

    from crwedge.runtime.backends.onnx_cpu import CpuEngine as cpu  # noqa: N813

    monkeypatch.setattr(choice, "_open", opened)
    monkeypatch.setattr(choice, "no_driver", lambda: None)
    said: list[str] = []
    with Tracker(open_engine(bundle, "auto", say=said.append), SETTINGS) as tracker:
        labels = tracker.step(small_scene.frames[0], small_scene.masks[0])
        assert (labels.ids == small_scene.masks[0]).all()
        tracker.step(small_scene.frames[1])
        assert tracker.engine.name.endswith(" cpu")
    assert len(said) == 2
    assert "out of device memory" in said[0]


def test_a_named_device_that_is_too_small_is_one_line(bundle: Bundle, small_scene: Scene) -> None:
    tracker = Tracker(device_engine(bundle, HostDriver(memory_bytes=300_000)), SETTINGS)
    with pytest.raises(DeviceError, match="out of device memory") as failed:
        tracker.step(small_scene.frames[0], small_scene.masks[0])
    assert "\n" not in str(failed.value)
    tracker.close()
