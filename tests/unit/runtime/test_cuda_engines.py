"""The glue of the engines on a device, against fakes of ONNX Runtime and TensorRT that compute on the host."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.engine_key import EngineKey, Profile
from crwedge.core.engine_store import EngineFacts, write_engine
from crwedge.core.errors import BundleError, MissingExtraError, SourceError
from crwedge.core.files import sha256
from crwedge.core.scene import render_scene
from crwedge.runtime.backends.cuda.encode import EncoderOutput
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.engine import DeviceEngine, Refittable
from crwedge.runtime.backends.onnx_cuda import PROVIDERS, CudaEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.backends.tensorrt import TensorRtEngine
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.propagation.view import View
from tests.emulated_cuda import EmulatedCuda
from tests.emulated_engine import device_engine

FRAMES = render_scene(3, 64, 88).frames


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    shutil.copytree(shipped_bundle(), tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


class FakeSession:
    """A session whose features are the frame's size and first pixel, and the first byte of its graph."""

    providers: tuple[str, ...] = (PROVIDERS[0], "CPUExecutionProvider")
    failure: str | None = None

    def __init__(self, onnx: bytes, options: Any, providers: Any) -> None:
        if onnx == b"damaged":
            raise RuntimeError("no protobuf\nsecond line")
        self.mark = onnx[0]

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="frames", type="tensor(uint8)", shape=["N", "H", "W", 3])]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="features", type="tensor(float)", shape=["N", 256, "h", "w"])]

    def io_binding(self) -> Any:
        bound: dict[str, Any] = {}
        return SimpleNamespace(
            bind_input=lambda *values: bound.update(input=values),
            bind_output=lambda *values: bound.update(output=values),
            bound=bound,
        )  # fmt: skip

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        if self.failure:
            raise RuntimeError(self.failure)
        name, device, number, dtype, shape, address = binding.bound["input"]
        assert (name, device, number, dtype) == ("frames", "cuda", 0, np.uint8)
        pixels = np.empty(shape, np.uint8)
        EmulatedCuda().download(pixels, address, 1)
        name, device, number, dtype, shape, address = binding.bound["output"]
        assert (name, device, number, dtype) == ("features", "cuda", 0, np.float32)
        features = np.full(shape, pixels[0, 0, 0, 0], np.float32)
        features[0, 1], features[0, 2] = pixels.shape[1], self.mark
        EmulatedCuda().upload(address, features, 1)


def fake_ort(session: type[FakeSession] = FakeSession) -> Any:
    options = SimpleNamespace(log_severity_level=0)
    run_options = SimpleNamespace(add_run_config_entry=lambda *_: None)
    return SimpleNamespace(
        __version__="0.fake", InferenceSession=session, SessionOptions=lambda: options, RunOptions=lambda: run_options,
        get_available_providers=lambda: list(PROVIDERS),
    )  # fmt: skip


def test_cuda_binds_device_memory_and_keeps_features_there(bundle: Bundle) -> None:
    engine = CudaEngine(bundle, driver=EmulatedCuda(), ort=fake_ort())
    assert isinstance(engine, DeviceEngine)
    assert isinstance(engine, Refittable)
    mark = bundle.read(ONNX)[0]
    for frame in FRAMES:
        output = engine.run_resident(frame, View.whole((64, 88)))
        assert output.shape == (256, 8, 11)
        on_host = on_the_host(engine, output)
        assert (on_host[0, 0, 0], on_host[1, 0, 0], on_host[2, 0, 0]) == (frame[0, 0, 0], 64, mark)
    assert engine.run(FRAMES[0]).dtype == np.float32
    assert engine.name == "onnxruntime 0.fake cuda"
    engine.refit(b"\x07 other weights")
    assert engine.run(FRAMES[0])[2, 0, 0] == 7
    with pytest.raises(BundleError, match=r"cannot load .*: no protobuf"):
        engine.refit(b"damaged")
    engine.close()


def on_the_host(engine: DeviceEngine, output: EncoderOutput) -> NDArray[np.float32]:
    features = np.empty(output.shape, np.float32)
    engine.driver.download(features, output.address, engine.stream)
    return features


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
def test_cuda_resizes_and_crops_on_the_device(bundle: Bundle) -> None:
    engine = CudaEngine(bundle, driver=EmulatedCuda(), ort=fake_ort())
    view = View((32, 48), (1, 2), (3, 4))
    output = engine.run_resident(FRAMES[0], view)
    assert output.shape == (256, 3, 4)
    have = on_the_host(engine, output)
    assert have[1, 0, 0] == 24
    assert abs(have[0, 0, 0] - view.pixels(FRAMES[0])[0, 0, 0]) <= 1
    # A frame that needs no scaling is cropped exactly.
    view = View((64, 88), (2, 3), (4, 5))
    have = on_the_host(engine, engine.run_resident(FRAMES[1], view))
    assert (have[0, 0, 0], have[1, 0, 0]) == (FRAMES[1][16, 24, 0], 32)


def test_a_refit_of_onnx_runtime_keeps_the_old_session_until_its_frame_is_complete(bundle: Bundle) -> None:
    waited: list[int] = []

    class Noting(EmulatedCuda):
        def synchronise(self, stream: int) -> None:
            waited.append(stream)

    engine = device_engine(bundle, Noting())
    engine.run(FRAMES[0])
    old = engine._session.current
    engine.refit(bundle.read(ONNX))
    assert engine._running is old
    waited.clear()
    engine.run(FRAMES[1])
    assert waited == [engine.stream]
    assert engine._running is engine._session.current
    engine.close()


def test_an_engine_closes_the_driver_it_opened_and_leaves_the_one_it_was_given(bundle: Bundle) -> None:
    driver = EmulatedCuda()
    engine = CudaEngine(bundle, driver=driver, ort=fake_ort())
    engine.run(FRAMES[0])
    engine.close()
    assert driver.owners == 1
    assert not driver.memory


def test_cuda_asks_the_session_which_provider_it_got(bundle: Bundle) -> None:
    class Fallen(FakeSession):
        providers = ("CPUExecutionProvider",)

    with pytest.raises(DeviceError, match="could not start CUDAExecutionProvider and fell back to CPU"):
        CudaEngine(bundle, driver=EmulatedCuda(), ort=fake_ort(Fallen))


def test_cuda_without_the_provider(bundle: Bundle) -> None:
    ort = fake_ort()
    ort.get_available_providers = lambda: ["CPUExecutionProvider"]
    with pytest.raises(MissingExtraError, match=r"pip install .*\[gpu\]"):
        CudaEngine(bundle, driver=EmulatedCuda(), ort=ort)


def test_cuda_out_of_memory_is_one_line(bundle: Bundle) -> None:
    class Full(FakeSession):
        failure = "[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer\nat arena.cc"

    engine = CudaEngine(bundle, driver=EmulatedCuda(), ort=fake_ort(Full))
    with pytest.raises(DeviceError, match="cannot run the encoder: out of device memory") as failed:
        engine.run(FRAMES[0])
    assert "\n" not in failed.value.args[0]


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return name == "frames"

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        features = np.full((256, -(-self.shape[1] // 8), -(-self.shape[2] // 8)), self.engine.mark, np.float32)
        EmulatedCuda().upload(self.addresses["features"], features, stream)
        return True


class FakeEngine:
    num_io_tensors = 2

    def __init__(self, mark: int) -> None:
        self.mark = mark

    def get_tensor_name(self, number: int) -> str:
        return ("features", "frames")[number]

    def get_tensor_mode(self, name: str) -> str:
        return {"features": "out", "frames": "in"}[name]

    def create_execution_context(self) -> FakeContext:
        return FakeContext(self)


def fake_trt() -> Any:
    """TensorRT's names as the bindings of 10.3 to 11.x have them; engines are one byte that becomes every feature."""

    def refit_parser(engine: FakeEngine, _: object) -> Any:
        def refit(onnx: bytes) -> bool:
            engine.mark = onnx[0]
            return onnx != b"other"

        return SimpleNamespace(refit_from_bytes=refit)

    def logger(level: int) -> None:
        return None

    logger.ERROR = 1  # type: ignore[attr-defined]

    class Refitter(SimpleNamespace):
        def __new__(cls, engine: FakeEngine, _: object) -> Any:
            engine.refit_cuda_engine = lambda: True  # type: ignore[attr-defined]
            return engine

    return SimpleNamespace(
        __name__="tensorrt", __version__="10.fake", Logger=logger, Refitter=Refitter, OnnxParserRefitter=refit_parser,
        TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
        Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda data: FakeEngine(data[0]) if data else None),
    )  # fmt: skip


def build(bundle: Bundle, *, capability: str = "0.0", refittable: bool = True, data: bytes = b"\x05 engine") -> None:
    profile = Profile((64, 64), (480, 854), (1088, 1920))
    key = EngineKey(bundle.sha256, "tensorrt", "10.fake", capability, bundle.manifest.precision, profile)
    write_engine(bundle.path / "engines", EngineFacts(key, sha256(data), refittable, "fake", "0"), data)


def test_tensorrt_runs_the_engine_that_fits(bundle: Bundle) -> None:
    build(bundle)
    engine = TensorRtEngine(bundle, driver=EmulatedCuda(), trt=fake_trt())
    assert isinstance(engine, DeviceEngine)
    assert engine.run(FRAMES[0]).shape == (256, 8, 11)
    assert (engine.run(FRAMES[0]) == 5).all()
    assert engine.name == "tensorrt 10.fake"
    with pytest.raises(DeviceError, match="not 32x48; build one with"):
        engine.run(np.zeros((32, 48, 3), np.uint8))
    engine.close()


def test_tensorrt_takes_new_weights_between_two_frames(bundle: Bundle) -> None:
    build(bundle)
    engine = TensorRtEngine(bundle, driver=EmulatedCuda(), trt=fake_trt())
    engine.run(FRAMES[0])
    engine.refit(b"\x09 weights")
    assert (engine.run(FRAMES[0]) == 9).all()
    with pytest.raises(BundleError, match="of another network"):
        engine.refit(b"other")
    assert (engine.run(FRAMES[0]) == 9).all()


def test_tensorrt_without_an_engine_says_how_to_build_one(bundle: Bundle, said: list[str]) -> None:
    build(bundle, capability="9.0")
    with pytest.raises(BundleError, match="no TensorRT engine of this bundle fits this device; build one with"):
        TensorRtEngine(bundle, driver=EmulatedCuda(), trt=fake_trt())
    assert "compute capability 9.0, this one has 0.0" in said[0]


def test_tensorrt_never_loads_a_changed_engine(bundle: Bundle) -> None:
    build(bundle)
    path = next((bundle.path / "engines").glob("*.engine"))
    path.write_bytes(b"\x06 engine")
    with pytest.raises(BundleError, match="changed or damaged"):
        TensorRtEngine(bundle, driver=EmulatedCuda(), trt=fake_trt())


def test_tensorrt_that_cannot_be_refitted(bundle: Bundle) -> None:
    build(bundle, refittable=False)
    engine = TensorRtEngine(bundle, driver=EmulatedCuda(), trt=fake_trt())
    with pytest.raises(BundleError, match="without refitting"):
        engine.refit(b"\x09")


def test_the_fake_has_only_names_that_the_real_bindings_have() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="no TensorRT bindings are installed")
    for name in vars(fake_trt()):
        assert hasattr(trt, name), name
    for owner, names in {
        "ICudaEngine": ("num_io_tensors", "get_tensor_name", "get_tensor_mode", "create_execution_context"),
        "IExecutionContext": ("set_input_shape", "set_tensor_address", "execute_async_v3"),
        "Refitter": ("refit_cuda_engine",), "OnnxParserRefitter": ("refit_from_bytes",),
        "Runtime": ("deserialize_cuda_engine",), "TensorIOMode": ("INPUT", "OUTPUT"), "Logger": ("ERROR",),
    }.items():  # fmt: skip
        for name in names:
            assert hasattr(getattr(trt, owner), name), (owner, name)


def test_a_bundle_of_one_size_refuses_others(bundle: Bundle) -> None:
    fixed = replace(bundle, manifest=replace(bundle.manifest, size=(64, 88)))
    engine = CudaEngine(fixed, driver=EmulatedCuda(), ort=fake_ort())
    engine.run(FRAMES[0])
    with pytest.raises(SourceError, match="frames of 64x88"):
        engine.run(np.zeros((32, 48, 3), np.uint8))


def test_cuda_on_this_machine_works_or_says_why(bundle: Bundle) -> None:
    for name in ("cuda", "tensorrt"):
        try:
            open_engine(bundle, name).close()
        except (BundleError, DeviceError, MissingExtraError) as error:
            assert "\n" not in error.args[0]  # noqa: PT017 - either is right, as long as it is one line
