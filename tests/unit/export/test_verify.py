"""An engine that was built is judged on the frames of a clip. The builder is a fake, and so is the device that runs it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.engine_key import Profile
from crwedge.core.errors import CrwedgeError
from crwedge.export import engines, verify
from crwedge.export.parity import ParityError
from crwedge.export.test_clips import rendered
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.unit.export.fake_tensorrt import fake

CLIP = rendered((64, 96), frames=3)


class FakeDevice:
    """An engine that gives the features of ONNX Runtime on the CPU, turned by an amount."""

    name = "a fake TensorRT"

    def __init__(self, bundle: Bundle, amount: float) -> None:
        self._inner, self._amount, self.closed = open_engine(bundle, "cpu"), amount, False
        self.sizes: list[tuple[int, ...]] = []

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(frame.shape[:2])
        features = self._inner.run(frame)
        turned = features + self._amount * np.roll(features, 1, axis=0)
        return np.asarray(turned / np.linalg.norm(turned, axis=0), np.float32)

    def close(self) -> None:
        self._inner.close()
        self.closed = True


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    shutil.copytree(shipped_bundle(), tmp_path / "b", ignore=shutil.ignore_patterns("engines"))
    trt = fake()
    monkeypatch.setattr(engines, "load_tensorrt", lambda name: trt)
    monkeypatch.setattr(engines, "device", lambda name: ("8.7", "Orin"))
    return Bundle.open(tmp_path / "b")


def on(monkeypatch: pytest.MonkeyPatch, device: FakeDevice) -> None:
    def opened(bundle: Bundle, name: str, **more: Any) -> Any:
        return device if name == "tensorrt" else open_engine(bundle, name)

    monkeypatch.setattr(verify, "open_engine", opened)


def kept(bundle: Bundle) -> list[str]:
    return sorted(path.suffix for path in (bundle.path / "engines").glob("tensorrt-*"))


def test_an_engine_that_agrees_is_kept(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    on(monkeypatch, device := FakeDevice(bundle, 0.0))
    verdict = verify.build_and_verify(bundle, "tensorrt", clip=CLIP)
    assert verdict is not None
    assert verdict.passed
    assert kept(bundle) == [".engine", ".json"]
    assert device.closed
    assert any("a fake TensorRT" in line for line in said)


def test_an_engine_that_differs_is_deleted(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, device := FakeDevice(bundle, 0.5))
    with pytest.raises(ParityError, match=r"differs from ONNX Runtime .*it was deleted") as caught:
        verify.build_and_verify(bundle, "tensorrt", clip=CLIP)
    assert not caught.value.parity.passed
    assert kept(bundle) == []
    assert device.closed


def test_a_clip_of_another_size_than_the_engine_takes_is_replaced(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, device := FakeDevice(bundle, 0.0))
    verify.build_and_verify(bundle, "tensorrt", Profile.of((72, 80)), clip=CLIP)
    assert set(device.sizes) == {(72, 80)}


def test_a_device_that_fails_ends_the_comparison_and_is_closed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(FakeDevice):
        def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise CrwedgeError("the device is lost")

    on(monkeypatch, device := Failing(bundle, 0.0))
    with pytest.raises(CrwedgeError, match="the device is lost"):
        verify.build_and_verify(bundle, "tensorrt", clip=CLIP)
    assert device.closed
