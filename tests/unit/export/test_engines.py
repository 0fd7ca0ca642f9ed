"""Building engines: once, for this device, and kept where they may be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from crwedge.core.bundle import ONNX, WEIGHTS, Bundle, Manifest, write_bundle
from crwedge.core.engine_key import Profile
from crwedge.core.errors import BundleError, MissingExtraError, SettingError
from crwedge.export import engines, tensorrt, verify
from crwedge.export.tensorrt import BuildOptions
from crwedge.runtime.bundle_lookup import data_home
from tests.unit.export.fake_tensorrt import fake

RANGE = Profile((64, 64), (480, 854), (1088, 1920))


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path / "home"))
    facts = Manifest("x", "resnet18", "zeros", (0.5,) * 3, (0.5,) * 3, 8, 256, "float16", "a test", True)
    return write_bundle(tmp_path / "b", facts, {ONNX: b"", WEIGHTS: b""})


def use(monkeypatch: pytest.MonkeyPatch, module: Any, capability: str = "8.7") -> Any:
    monkeypatch.setattr(engines, "load_tensorrt", lambda name: module)
    monkeypatch.setattr(engines, "device", lambda name: (capability, "Orin"))
    return module


def test_an_engine_is_built_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    trt = use(monkeypatch, fake())
    steps: list[tuple[str, int, int]] = []
    options = BuildOptions(RANGE, workspace_mb=256)
    first = engines.ensure_engine(bundle, options=options, on_progress=lambda *a: steps.append(a))
    assert first.data == b"engine of 10.3.0"
    assert first.path.parent == bundle.path / "engines"
    assert first.facts.refittable
    assert ("WORKSPACE", 256 << 20) in trt.asked
    assert ("profile", ("frames", (1, 64, 64, 3), (1, 480, 854, 3), (1, 1088, 1920, 3))) in trt.asked
    assert ("network", 1 << 1) in trt.asked
    assert steps == [("Building", 0, 2), ("Building", 1, 2), ("Building", 2, 2)]
    again = engines.ensure_engine(bundle, options=options)
    assert again.data == first.data
    assert trt.asked.count(("build",)) == 1
    assert "exists and fits" in said[-1]
    assert Bundle.open(bundle.path) == bundle


def test_another_version_or_device_builds_its_own(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    use(monkeypatch, fake("10.3.0"))
    engines.ensure_engine(bundle)
    said.clear()
    use(monkeypatch, fake("11.4.0"))
    assert engines.ensure_engine(bundle).data == b"engine of 11.4.0"
    assert "was built by tensorrt 10.3.0, this machine has 11.4.0" in said[0]
    use(monkeypatch, fake("11.4.0"), "8.9")
    engines.ensure_engine(bundle)
    assert len(list((bundle.path / "engines").glob("*.engine"))) == 3


def test_the_next_build_starts_from_the_timings(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = use(monkeypatch, fake())
    engines.ensure_engine(bundle, options=BuildOptions(RANGE))
    engines.ensure_engine(bundle, options=BuildOptions(Profile.of((480, 640))))
    assert [what for what in trt.asked if what[0] == "timings"] == [("timings", b""), ("timings", b"timings")]
    (timings,) = data_home().glob("engines/*.timing")
    timings.write_bytes(b"damaged")
    engines.ensure_engine(bundle, options=BuildOptions(Profile.of((240, 320))))
    assert [what for what in trt.asked if what[0] == "timings"][2:] == [("timings", b"damaged"), ("timings", b"")]


def test_without_a_gpu_the_weights_are_fixed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = use(monkeypatch, fake(), "any")
    assert not engines.ensure_engine(bundle, "tensorrt_rtx").facts.refittable
    assert ("flag", "REFIT") not in trt.asked


def test_weights_that_cannot_be_exchanged_are_built_fixed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    use(monkeypatch, fake(refit_works=False))
    assert not engines.ensure_engine(bundle).facts.refittable
    assert any("no refit here" in line for line in said)


def test_a_bundle_that_cannot_be_written_keeps_its_engine_at_home(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fake())
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != bundle.path and access(path, mode))
    found = engines.ensure_engine(bundle)
    assert found.path.parent == data_home() / "engines"
    assert engines.ensure_engine(bundle).path == found.path
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BundleError, match="neither"):
        engines.ensure_engine(bundle, options=BuildOptions(Profile.of((240, 320))))


def test_a_refused_graph_says_why_in_one_line() -> None:
    with pytest.raises(BundleError, match="no such operator") as caught:
        tensorrt.check_graph(fake(), b"bad")
    assert "\n" not in caught.value.args[0]


def test_a_graph_of_one_size_takes_its_own_profile_alone() -> None:
    trt = fake(sides=(480, 854))
    tensorrt.build_engine(trt, b"", BuildOptions(Profile.of((480, 854))))
    for profile in (RANGE, Profile.of((240, 320))):
        with pytest.raises(SettingError, match="takes 480x854 only"):
            tensorrt.build_engine(trt, b"", BuildOptions(profile))


def test_auto_does_nothing_where_nothing_can_be_built(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise MissingExtraError("no")

    monkeypatch.setattr(engines, "load_tensorrt", missing)
    assert not engines.can_build()
    assert verify.build_and_verify(bundle, "auto") is None
    assert verify.build_and_verify(bundle, "onnx") is None
    with pytest.raises(MissingExtraError):
        verify.build_and_verify(bundle, "tensorrt")
    with pytest.raises(SettingError, match="unknown engine"):
        verify.build_and_verify(bundle, "openvino")


def test_tensorrt_without_a_gpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str, extra: str) -> Any:
        raise OSError("libcuda.so.1: cannot open")

    monkeypatch.setattr(tensorrt, "import_optional", broken)
    with pytest.raises(SettingError, match="crwedge export BUNDLE --engine tensorrt"):
        tensorrt.device("tensorrt")
    assert tensorrt.device("tensorrt_rtx")[0] == "any"
