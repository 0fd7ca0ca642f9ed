"""The choice of the engine: order, announcements, and going on when a device fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.errors import BundleError, MissingExtraError, SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends import open as choice
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.backends.cuda.errors import DeviceError, device_error
from crwedge.runtime.backends.cuda.hardware import nvidia_gpu
from crwedge.runtime.bundle_lookup import shipped_bundle

FRAME = np.zeros((32, 40, 3), np.uint8)


class FakeEngine:
    """Stands for a back end; fails from the frame `fails_at` on."""

    def __init__(self, name: str, fails_at: int | None = None) -> None:
        self.name, self.fails_at, self.frames, self.closed = name, fails_at, 0, False

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.frames += 1
        if self.fails_at is not None and self.frames > self.fails_at:
            raise device_error(2, "take 1.0 MB of device memory")
        return np.ones((1, 4, 5), np.float32)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


def with_engines(monkeypatch: pytest.MonkeyPatch, engines: dict[str, FakeEngine | Exception]) -> None:
    def opened(name: str, *_: object) -> FakeEngine:
        found = engines[name]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(choice, "_open", opened)
    monkeypatch.setattr(choice, "missing_driver", lambda: None)


def test_auto_takes_the_best_and_says_nothing(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, said: list[str]) -> None:
    best = FakeEngine("tensorrt 10")
    with_engines(monkeypatch, {"tensorrt": best})
    assert choice.open_engine(bundle, "auto").name == "tensorrt 10"
    assert said == []


def test_auto_steps_down_and_says_each_reason_once(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, said: list[str]
) -> None:
    with_engines(
        monkeypatch,
        {
            "tensorrt": BundleError("no TensorRT engine of this bundle fits this device"),
            "cuda": MissingExtraError("onnxruntime-gpu is not installed"),
            "cpu": FakeEngine("cpu 1"),
        },
    )
    engine = choice.open_engine(bundle, "auto")
    engine.run(FRAME)
    assert said == [
        "note: engine tensorrt not used: no TensorRT engine of this bundle fits this device",
        "note: engine cuda not used: onnxruntime-gpu is not installed",
    ]


def test_auto_goes_on_when_a_device_has_too_little_memory(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, said: list[str]
) -> None:
    first, last = FakeEngine("tensorrt 10", fails_at=0), FakeEngine("cpu 1")
    with_engines(monkeypatch, {"tensorrt": first, "cuda": DeviceError("there is no NVIDIA GPU"), "cpu": last})

    class FakeDeviceBackend(CpuBackend):
        on_device = True

    def made(engine: FakeEngine, settings: PropagationSettings, workers: int | None, keep: bool) -> CpuBackend:
        return (CpuBackend if engine is last else FakeDeviceBackend)(engine, settings, workers, keep)

    monkeypatch.setattr(choice, "backend_of", made)
    backend = choice.open_backend(bundle, PropagationSettings(), "auto", size=(32, 40))
    assert backend.engine is last
    assert first.closed
    assert last.frames == 0
    assert "out of device memory" in said[0]
    assert len(said) == 2


def test_the_last_engine_s_failure_is_the_caller_s(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    with_engines(
        monkeypatch,
        {"tensorrt": DeviceError("a"), "cuda": DeviceError("b"), "cpu": MissingExtraError("onnxruntime is missing")},
    )
    with pytest.raises(MissingExtraError, match="onnxruntime is missing"):
        choice.open_engine(bundle, "auto")


def test_a_named_engine_never_steps_down(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    with_engines(monkeypatch, {"cuda": DeviceError("there is no NVIDIA GPU")})
    with pytest.raises(DeviceError, match="there is no NVIDIA GPU"):
        choice.open_engine(bundle, "cuda")


def test_unknown_engine(bundle: Bundle) -> None:
    with pytest.raises(SettingError, match="choose one of auto, cpu, cuda, tensorrt"):
        choice.open_engine(bundle, "coreml")


@pytest.mark.parametrize("gpu", [False, True])
def test_a_missing_driver_is_a_fault_only_where_there_is_a_gpu(
    gpu: bool, monkeypatch: pytest.MonkeyPatch, bundle: Bundle, said: list[str]
) -> None:
    with_engines(monkeypatch, {"cpu": FakeEngine("cpu 1")})
    monkeypatch.setattr(choice, "missing_driver", lambda: "libcuda.so.1 is missing")
    monkeypatch.setattr(choice, "nvidia_gpu", lambda: gpu)
    assert choice.open_engine(bundle, "auto").name == "cpu 1"
    fault = ["note: engine cpu is used although there is an NVIDIA GPU: libcuda.so.1 is missing"]
    assert said == (fault if gpu else [])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"sys/bus/pci/devices/0/vendor": "0x10de\n", "sys/bus/pci/devices/0/class": "0x030200\n"}, True),
        ({"sys/bus/pci/devices/0/vendor": "0x10de\n", "sys/bus/pci/devices/0/class": "0x040300\n"}, False),
        ({"sys/bus/pci/devices/0/vendor": "0x1002\n", "sys/bus/pci/devices/0/class": "0x030000\n"}, False),
        ({"dev/nvhost-gpu": ""}, True),
    ],
)
def test_a_gpu_is_found_without_its_driver(files: dict[str, str], expected: bool, tmp_path: Path) -> None:
    """A made-up tree of the files that Linux keeps of its devices."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert nvidia_gpu(tmp_path) is expected
