"""The encoder as an ONNX graph, written node by node from its weights.

No tracing: the graph has exactly the nodes the encoder needs, BatchNorm is folded in float64, and the same weights give the
same bytes. Input `frames` is RGB uint8 (N, H, W, 3), output `features` float32 (N, C, ceil(H / 8), ceil(W / 8)) of unit length
over C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.core.need import need

OPSET = 17
IR_VERSION = 8
"""Both are old enough for TensorRT 10.3 and ONNX Runtime 1.18."""

_BN_EPS = 1e-5
_NORM_EPS = 1e-12
_BLOCKS = {"resnet18": (2, 2, 2), "resnet50": (3, 4, 6)}

Weights = Mapping[str, NDArray[Any]]


class GraphWriter:
    """Collects nodes and tensors; every method returns the name of its output."""

    def __init__(self, weights: Weights, padding: str, stored_as: type[np.floating[Any]] = np.float32) -> None:
        """Weights in torchvision's names; `stored_as` float16 halves the file, the arithmetic stays float32."""
        self.onnx = need("onnx", extra="export")
        self.weights = weights
        self.padding = padding
        self.stored_as = stored_as
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def tensor(self, name: str, values: NDArray[Any]) -> str:
        """An initializer."""
        self.tensors.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def parameter(self, name: str, values: NDArray[Any]) -> str:
        """A weight, stored narrow if asked and widened where it is used."""
        if self.stored_as is np.float32:
            return self.tensor(name, values.astype(np.float32))
        narrow = values.astype(self.stored_as)
        if not np.isfinite(narrow).all():
            raise CrwedgeError(f"{name} holds values too large for {np.dtype(self.stored_as).name}; export float32")
        return self.node("Cast", [self.tensor(f"{name}.stored", narrow)], name, to=self.onnx.TensorProto.FLOAT)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An operator with one output."""
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv_bn(self, x: str, conv: str, bn: str, stride: int, relu: bool) -> str:
        """Convolution with its BatchNorm folded in, and a ReLU if asked."""
        weight, bias = fold(self.weights, conv, bn)
        pad = weight.shape[2] // 2
        if pad and self.padding == "reflect":
            amounts = self.tensor(f"{conv}.pads", np.array([0, 0, pad, pad, 0, 0, pad, pad], np.int64))
            x = self.node("Pad", [x, amounts], f"{conv}.padded", mode="reflect")
            pad = 0
        inputs = [x, self.parameter(f"{conv}.weight", weight), self.parameter(f"{conv}.bias", bias)]
        x = self.node("Conv", inputs, f"{conv}.out", strides=[stride, stride], pads=[pad] * 4)
        return self.node("Relu", [x], f"{conv}.relu") if relu else x

    def block(self, x: str, name: str, stride: int, architecture: str) -> str:
        """A residual block."""
        plan = (("conv1", "bn1", stride), ("conv2", "bn2", 1))
        if architecture == "resnet50":
            plan = (("conv1", "bn1", 1), ("conv2", "bn2", stride), ("conv3", "bn3", 1))  # type: ignore[assignment]
        shortcut = x
        if f"{name}.downsample.0.weight" in self.weights:
            shortcut = self.conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride, relu=False)
        for index, (conv, bn, step) in enumerate(plan):
            x = self.conv_bn(x, f"{name}.{conv}", f"{name}.{bn}", step, relu=index < len(plan) - 1)
        x = self.node("Add", [x, shortcut], f"{name}.sum")
        return self.node("Relu", [x], f"{name}.out")


def fold(weights: Weights, conv: str, bn: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight and bias of the one convolution that equals `conv` followed by `bn` with its running statistics."""
    w = weights[f"{conv}.weight"].astype(np.float64)
    gamma, beta, mean, var = (
        weights[f"{bn}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + _BN_EPS)
    return w * scale[:, None, None, None], beta - mean * scale


def build_onnx(
    weights: Weights,
    *,
    architecture: str,
    padding: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: tuple[int, int] | None = None,
    stored_as: type[np.floating[Any]] = np.float32,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """The ONNX file of an encoder.

    Args:
        weights: torchvision names, res1 to res3.
        architecture: resnet18 or resnet50.
        padding: zeros or reflect.
        mean: RGB in 0..1.
        std: RGB in 0..1.
        size: fixed (H, W) and batch 1, or None for any size and batch.
        stored_as: float32, or float16 to halve the file.
        facts: metadata that lets a lone file explain itself.

    Returns:
        The bytes; the same arguments give the same bytes.
    """
    writer = GraphWriter(weights, padding, stored_as)
    onnx = writer.onnx
    helper, proto = onnx.helper, onnx.TensorProto
    # (x / 255 - mean) / std as one product and one sum; the pixels become float32 before anything else.
    x = writer.node("Cast", ["frames"], "frames.float", to=proto.FLOAT)
    x = writer.node("Transpose", [x], "frames.chw", perm=[0, 3, 1, 2])
    scale = 1 / (255 * np.array(std, np.float64))
    shift = -np.array(mean, np.float64) / np.array(std, np.float64)
    x = writer.node("Mul", [x, writer.tensor("scale", scale.astype(np.float32).reshape(1, 3, 1, 1))], "frames.scaled")
    x = writer.node("Add", [x, writer.tensor("shift", shift.astype(np.float32).reshape(1, 3, 1, 1))], "frames.normal")
    x = writer.conv_bn(x, "conv1", "bn1", 2, relu=True)
    x = writer.node("MaxPool", [x], "maxpool.out", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, (blocks, stride) in enumerate(zip(_BLOCKS[architecture], (1, 2, 1), strict=True), start=1):
        for index in range(blocks):
            x = writer.block(x, f"layer{stage}.{index}", stride if index == 0 else 1, architecture)
    # Written out rather than as LpNormalization, which few engines know.
    length = writer.node("ReduceL2", [x], "length", axes=[1], keepdims=1)
    length = writer.node("Max", [length, writer.tensor("epsilon", np.array(_NORM_EPS, np.float32))], "length.safe")
    writer.node("Div", [x, length], "features")

    channels = fold(weights, _last_conv(architecture), _last_bn(architecture))[0].shape[0]
    n, height, width = (1, *size) if size else ("N", "H", "W")
    h, w = (-(-size[0] // 8), -(-size[1] // 8)) if size else ("h", "w")
    graph = helper.make_graph(
        writer.nodes,
        "crwedge-encoder",
        [helper.make_tensor_value_info("frames", proto.UINT8, [n, height, width, 3])],
        [helper.make_tensor_value_info("features", proto.FLOAT, [n, channels, h, w])],
        writer.tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="crwedge")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(sorted((facts or {}).items())))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _last_conv(architecture: str) -> str:
    return "layer3.1.conv2" if architecture == "resnet18" else "layer3.5.conv3"


def _last_bn(architecture: str) -> str:
    return "layer3.1.bn2" if architecture == "resnet18" else "layer3.5.bn3"
