"""The graphs: what they compute, that they are the same every time, and that they explain themselves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from crwedge.core.errors import CrwedgeError
from crwedge.export.calibrate import calibrate
from crwedge.export.onnx import build_onnx
from crwedge.export.precision import PRECISIONS, to_signed_activations
from crwedge.model.encoder import Encoder, EncoderConfig
from tests.unit.export.conftest import FRAMES, recipe_of, run_onnx, small_encoder, weights_of

LEAST_COSINE = {"float32": 0.99999, "float16": 0.9999, "int8": 0.93}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_computes_what_the_encoder_does(encoder: Encoder, ranges: dict, precision: str) -> None:
    data = build_onnx(weights_of(encoder), recipe_of(encoder.config, precision=precision), ranges=ranges)
    got = run_onnx(data, FRAMES)
    expected = encoder.features(torch.from_numpy(FRAMES)).numpy()
    assert got.dtype == np.float32
    assert got.shape == expected.shape == (3, 256, 8, 12)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-4)
    assert (got * expected).sum(axis=1).min() > LEAST_COSINE[precision]


@pytest.mark.parametrize("config", [EncoderConfig(padding="reflect"), EncoderConfig(architecture="resnet50")])
def test_other_encoders_too(config: EncoderConfig) -> None:
    encoder = small_encoder(config)
    weights, frames = weights_of(encoder), FRAMES[:1]
    expected = encoder.features(torch.from_numpy(frames)).numpy()
    wide = build_onnx(weights, recipe_of(config))
    # Random weights of a deep network magnify the rounding of int8; trained ones do not.
    for precision, least in (("float32", 0.99999), ("float16", 0.9995), ("int8", 0.85)):
        ranges = calibrate(wide, frames) if precision == "int8" else None
        got = run_onnx(build_onnx(weights, recipe_of(config, precision=precision), ranges=ranges), frames)
        assert (got * expected).sum(axis=1).mean() > least, precision


def test_int8_as_tensorrt_reads_it_is_the_same_but_for_what_uint8_holds_above_127(
    encoder: Encoder, ranges: dict
) -> None:
    data = build_onnx(weights_of(encoder), recipe_of(encoder.config, precision="int8"), ranges=ranges)
    assert len(to_signed_activations(data)) == len(data)
    assert sum(a != b for a, b in zip(data, to_signed_activations(data), strict=True)) == 1
    both = [run_onnx(graph, FRAMES) for graph in (data, to_signed_activations(data))]
    assert (both[0] * both[1]).sum(axis=1).mean() > 0.985
    zeros = [
        t for t in onnx.load_from_string(to_signed_activations(data)).graph.initializer if t.name.startswith("zero")
    ]
    assert [t.data_type for t in zeros] == [onnx.TensorProto.INT8] * 2


def test_a_fixed_size_is_in_the_graph(encoder: Encoder) -> None:
    model = onnx.load_from_string(build_onnx(weights_of(encoder), recipe_of(encoder.config, size=(61, 90))))
    shapes = [
        [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    assert shapes == [[1, 61, 90, 3], [1, 256, 8, 12]]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_weights_give_the_same_bytes(encoder: Encoder, precision: str) -> None:
    weights = weights_of(encoder)
    recipe = recipe_of(encoder.config, precision=precision)

    def once() -> bytes:
        ranges = calibrate(build_onnx(weights, recipe_of(encoder.config)), FRAMES) if precision == "int8" else None
        return build_onnx(weights, recipe, ranges=ranges, facts={"b": "2", "a": "1"})

    assert once() == once()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_is_plain(encoder: Encoder, ranges: dict, precision: str) -> None:
    data = build_onnx(
        weights_of(encoder), recipe_of(encoder.config, precision=precision), ranges=ranges, facts={"name": "tiny"}
    )
    model = onnx.load_from_string(data)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert {p.key: p.value for p in model.metadata_props} == {"name": "tiny"}
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) == 3:
            zero = next(t for t in model.graph.initializer if t.name == node.input[2])
            assert not onnx.numpy_helper.to_array(zero).any()


def test_int8_runs_as_integers_in_onnx_runtime(encoder: Encoder, ranges: dict, tmp_path: object) -> None:
    """What makes it fast: every convolution but the first is fused, and the sums too, save the last."""
    import onnxruntime as ort

    if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 23):
        pytest.skip("ONNX Runtime before 1.23 does not fuse this graph: the same result, more slowly")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{tmp_path}/optimised.onnx"
    data = build_onnx(weights_of(encoder), recipe_of(encoder.config, precision="int8"), ranges=ranges)
    options.add_session_config_entry("session.qdqisint8allowed", "0")
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kinds.count("QLinearConv") == 14
    assert kinds.count("QLinearAdd") == 5
    assert kinds.count("Conv") + kinds.count("FusedConv") == 1


def test_weights_too_large_for_float16_are_refused(encoder: Encoder) -> None:
    weights = weights_of(encoder)
    weights["bn1.bias"] = weights["bn1.bias"] + 1e6
    with pytest.raises(CrwedgeError, match="too large for float16"):
        build_onnx(weights, recipe_of(encoder.config, precision="float16"))
