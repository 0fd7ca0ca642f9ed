"""Every graph that is exported is parsed and built by a real TensorRT, which for RTX needs no GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.engine_key import Profile
from crwedge.core.errors import BundleError
from crwedge.export.calibrate import calibrate
from crwedge.export.engines import ensure_engine
from crwedge.export.onnx import build_onnx
from crwedge.export.precision import PRECISIONS
from crwedge.export.tensorrt import BuildOptions, build_engine, check_graph, load_tensorrt
from crwedge.export.verify import build_and_verify
from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.runtime.bundle_lookup import shipped_bundle
from tests.unit.export.conftest import FRAMES, recipe_of, small_encoder, weights_of

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed (pip install tensorrt-rtx)")

RANGE = Profile((64, 64), (480, 854), (1088, 1920))


@pytest.fixture(scope="module")
def trt() -> Any:
    return load_tensorrt("tensorrt_rtx")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return small_encoder()


def graph(encoder: Encoder, precision: str, **changes: Any) -> bytes:
    weights = weights_of(encoder)
    ranges = calibrate(build_onnx(weights, recipe_of(encoder.config)), FRAMES[:1]) if precision == "int8" else None
    return build_onnx(weights, recipe_of(encoder.config, precision=precision, **changes), ranges=ranges)


@pytest.mark.parametrize("size", [None, (480, 854), (123, 217)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_graph_is_built(trt: Any, encoder: Encoder, precision: str, size: tuple[int, int] | None) -> None:
    options = BuildOptions(Profile.of(size) if size else RANGE, refittable=False, workspace_mb=512)
    steps: list[tuple[str, int, int]] = []
    built = build_engine(
        trt, graph(encoder, precision, size=size), options, on_progress=lambda *step: steps.append(step)
    )
    assert len(built.engine) > 1_000_000
    assert steps


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_itself_is_parsed_by_other_tools_too(trt: Any, encoder: Encoder, precision: str) -> None:
    """Without `to_signed_activations`: newer parsers read the unsigned zero points as int8 and say so."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, builder.logger).parse(graph(encoder, precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("config", [EncoderConfig(padding="reflect"), EncoderConfig(architecture="resnet50")])
def test_other_encoders_are_parsed(trt: Any, config: EncoderConfig, precision: str) -> None:
    assert check_graph(trt, graph(small_encoder(config), precision)) > 40


def test_narrow_weights_and_the_shipped_encoder_are_built(trt: Any, encoder: Encoder) -> None:
    options = BuildOptions(RANGE, refittable=False)
    for data in (graph(encoder, "float32", stored_as=np.float16), Bundle.open(shipped_bundle()).read(ONNX)):
        assert len(build_engine(trt, data, options).engine) > 1_000_000


def bad_graph(kind: str) -> bytes:
    """Graphs that ONNX allows and TensorRT does not."""
    shape: list[int] = [1, 64, 64, 3]
    nodes, tensors, out = [], [], shape
    if kind == "zero point":
        tensors = [numpy_helper.from_array(np.array(0.1, np.float32), "s")]
        tensors.append(numpy_helper.from_array(np.array(3, np.int8), "z"))
        nodes = [
            helper.make_node("QuantizeLinear", ["frames", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
    elif kind == "mixed types":
        nodes = [
            helper.make_node("Cast", ["frames"], ["half"], to=TensorProto.FLOAT16),
            helper.make_node("Add", ["frames", "half"], ["y"]),
        ]
    elif kind == "top k":
        out = [1, 3900]
        tensors = [numpy_helper.from_array(np.array([3900], np.int64), "k")]
        nodes = [
            helper.make_node("Flatten", ["frames"], ["flat"]),
            helper.make_node("TopK", ["flat", "k"], ["y", "i"], axis=1),
        ]
    else:
        nodes = [helper.make_node("Mystery", ["frames"], ["y"], domain="com.example")]
    body = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(body, opset_imports=opsets)
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize("kind", ["zero point", "mixed types", "top k", "unknown operator", "not protobuf", "empty"])
def test_bad_graphs_are_refused_in_one_line(trt: Any, kind: str) -> None:
    data = {"not protobuf": b"\xff" * 64, "empty": onnx.ModelProto().SerializeToString()}.get(kind)
    with pytest.raises(BundleError, match=r"refuses the graph|could not build|not the graph of an encoder") as caught:
        build_engine(
            trt, bad_graph(kind) if data is None else data, BuildOptions(Profile.of((64, 64)), refittable=False)
        )
    assert "\n" not in caught.value.args[0]


def test_an_engine_is_built_kept_and_left_unjudged_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path))
    bundle = Bundle.open(shipped_bundle())
    monkeypatch.setattr("os.access", lambda path, mode: str(path).startswith(str(tmp_path)))
    options = BuildOptions(Profile.of((240, 320)))
    found = ensure_engine(bundle, "tensorrt_rtx", options)
    assert found.path.is_relative_to(tmp_path)
    assert ensure_engine(bundle, "tensorrt_rtx", options).data == found.data
    if found.facts.key.compute_capability == "any":
        assert build_and_verify(bundle, "tensorrt-rtx", Profile.of((240, 320))) is None
        assert "cannot run on this machine" in said[-1]


def test_a_device_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    """The bundle is copied there and its engine built there, with what `track` needs and no more."""
    shutil.copytree(shipped_bundle(), tmp_path / "b", ignore=shutil.ignore_patterns("engines"))
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'safetensors', 'kornia')))\n"
        "from crwedge.cli import run\n"
        f"arguments = ['export', {str(tmp_path / 'b')!r}, '--engine', 'tensorrt-rtx', '--profile', '240x320']\n"
        "sys.exit(run([*arguments, '--no-report']))\n"
    )
    environment = {**os.environ, "CRWEDGE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "b" / "engines").glob("tensorrt_rtx-*.engine"))) == 1
    Bundle.open(tmp_path / "b")
