"""The encoder's trunk as ONNX nodes in float32, float16 and int8.

A trunk writes convolutions, the pooling and the residual sums; `crwedge.export.onnx` defines their order. Normalisation of
pixels before it and of features after it is float32 in every precision.

Int8 is symmetric with zero point 0, as TensorRT requires. Outputs of a ReLU are uint8, because ONNX Runtime's fast
convolution on x86 needs uint8 inputs. Signed sums are int8; ONNX Runtime converts them to uint8 itself, since each has one
consumer. Scales use 127 levels, so that they stay valid when `to_signed_activations` makes every activation int8. Biases stay
float32, because TensorRT does not support int32 biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError
from crwedge.export.graph import GraphWriter

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

LEVELS = 127
"""The largest value of a symmetric int8."""
_UNSIGNED = "zero.uint8"

FLOAT32_LAYERS = ("conv1",)
"""Layers of an int8 graph that stay float32."""

Ranges = Mapping[str, float]
"""Clipping magnitude of each activation, by its name in the float32 graph."""


class Trunk(Protocol):
    """Writes the parts of a residual network. Values are NCHW and passed by name."""

    def enter(self, x: str) -> str:
        """Normalised float32 frames -> the type of the trunk."""
        ...

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """A convolution, followed by a ReLU if `relu`."""
        ...

    def pool(self, x: str) -> str:
        """The max pooling, 3 x 3 with stride 2."""
        ...

    def join(self, x: str, shortcut: str, name: str) -> str:
        """ReLU of the sum of a block's two branches."""
        ...

    def leave(self, x: str) -> str:
        """The type of the trunk -> float32."""
        ...


class FloatTrunk:
    """A trunk in float32 or float16.

    Args:
        writer: the graph.
        padding: zeros or reflect.
        kind: type of the arithmetic.
        stored_as: type of the stored weights; they are cast where they are used.
    """

    def __init__(
        self, writer: GraphWriter, padding: str, kind: type[np.floating[Any]], stored_as: type[np.floating[Any]]
    ) -> None:
        self.writer, self.padding, self.kind, self.stored_as = writer, padding, kind, stored_as

    def enter(self, x: str) -> str:
        """Cast the frames to the type of the arithmetic."""
        return x if self.kind is np.float32 else self.writer.cast(x, self.kind, "frames.half")

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """A convolution, followed by a ReLU if `relu`."""
        x, pad = reflect_pad(self.writer, x, name, weight.shape[2] // 2, self.padding)
        inputs = [x, self._parameter(f"{name}.weight", weight), self._parameter(f"{name}.bias", bias)]
        x = self.writer.node("Conv", inputs, f"{name}.out", **conv_shape(weight, stride, pad))
        return self.writer.node("Relu", [x], f"{name}.relu") if relu else x

    def pool(self, x: str) -> str:
        """The max pooling, 3 x 3 with stride 2."""
        return max_pool(self.writer, x)

    def join(self, x: str, shortcut: str, name: str) -> str:
        """ReLU of the sum of a block's two branches."""
        return self.writer.node("Relu", [self.writer.node("Add", [x, shortcut], f"{name}.sum")], f"{name}.out")

    def leave(self, x: str) -> str:
        """Cast the features to float32."""
        return x if self.kind is np.float32 else self.writer.cast(x, np.float32, "trunk.wide")

    def _parameter(self, name: str, values: NDArray[Any]) -> str:
        with np.errstate(over="ignore"):
            stored = values.astype(self.stored_as)
        if not np.isfinite(stored).all():
            raise CrwedgeError(f"{name} holds values too large for {np.dtype(self.stored_as).name}; export float32")
        if self.stored_as is self.kind:
            return self.writer.tensor(name, stored)
        return self.writer.cast(self.writer.tensor(f"{name}.stored", stored), self.kind, name)


class QuantTrunk:
    """A trunk in int8 as Q/DQ pairs: weights per output channel, activations per tensor, biases in float32.

    Args:
        writer: the graph.
        padding: zeros or reflect.
        ranges: of all activations.
        float32_layers: prefixes of the names of layers that stay float32.
    """

    def __init__(
        self, writer: GraphWriter, padding: str, ranges: Ranges, float32_layers: tuple[str, ...] = FLOAT32_LAYERS
    ) -> None:
        self.writer, self.padding, self.ranges, self.float32_layers = writer, padding, ranges, float32_layers
        self._float = FloatTrunk(writer, padding, np.float32, np.float32)
        self._quantised: dict[str, str] = {}
        self._signed: set[str] = set()

    def enter(self, x: str) -> str:
        """Mark the frames as signed."""
        self._signed.add(x)
        return x

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """A convolution with int8 inputs. Its output is not quantised; its consumers do that."""
        if name.startswith(self.float32_layers):
            return self._float.conv(x, name, weight, bias, stride, relu)
        writer = self.writer
        key = x
        x = self._quantise(x, key)
        pad = weight.shape[2] // 2
        if pad and self.padding == "reflect":
            x, pad = reflect_pad(writer, x, name, pad, self.padding)
            x = self._quantise(x, key)
        scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-12) / LEVELS
        whole = np.clip(np.rint(weight / scale[:, None, None, None]), -LEVELS, LEVELS).astype(np.int8)
        facts = [
            writer.tensor(f"{name}.weight.int8", whole),
            writer.tensor(f"{name}.weight.scale", scale.astype(np.float32)),
            writer.tensor(f"{name}.weight.zero", np.zeros(len(scale), np.int8)),
        ]
        dequantised = writer.node("DequantizeLinear", facts, f"{name}.weight", axis=0)
        inputs = [x, dequantised, writer.tensor(f"{name}.bias", bias.astype(np.float32))]
        x = writer.node("Conv", inputs, f"{name}.out", **conv_shape(weight, stride, pad))
        if relu:
            return writer.node("Relu", [x], f"{name}.relu")
        self._signed.add(x)
        return x

    def pool(self, x: str) -> str:
        """The max pooling, 3 x 3 with stride 2."""
        return self._float.pool(x)

    def join(self, x: str, shortcut: str, name: str) -> str:
        """ReLU of the sum of a block's two branches, both quantised."""
        if not name.startswith(self.float32_layers):
            x, shortcut = self._quantise(x, x), self._quantise(shortcut, shortcut)
        return self._float.join(x, shortcut, name)

    def leave(self, x: str) -> str:
        """The last sum is not quantised, because it is the features."""
        return x

    def _quantise(self, x: str, key: str) -> str:
        """Q and DQ of `x` with the range of the activation `key`; written once."""
        if x in self._quantised:
            return self._quantised[x]
        writer = self.writer
        scale = writer.tensor(f"{key}.scale", np.float32(max(self.ranges[key], 1e-6) / LEVELS))
        zero = ("zero.int8", np.int8(0)) if key in self._signed else (_UNSIGNED, np.uint8(0))
        inputs = [scale, writer.tensor(*zero)]
        whole = writer.node("QuantizeLinear", [x, *inputs], f"{x}.q")
        self._quantised[x] = writer.node("DequantizeLinear", [whole, *inputs], f"{x}.dq")
        return self._quantised[x]


def to_signed_activations(onnx: bytes) -> bytes:
    """Make every activation of an int8 graph int8, as TensorRT requires; other graphs are returned unchanged.

    All unsigned activations share one tensor, their zero point; only its type changes.
    """

    def zero(kind: int) -> bytes:
        # TensorProto: data_type (2), name (8), raw_data (9).
        return bytes([0x10, kind, 0x42, len(_UNSIGNED)]) + _UNSIGNED.encode() + b"\x4a\x01\x00"

    uint8, int8 = 2, 3
    return onnx.replace(zero(uint8), zero(int8))


def reflect_pad(writer: GraphWriter, x: str, name: str, pad: int, padding: str) -> tuple[str, int]:
    """Pad by reflection in a separate node; returns the value and the padding left for the convolution."""
    if not pad or padding != "reflect":
        return x, pad
    amounts = writer.tensor(f"{name}.pads", np.array([0, 0, pad, pad, 0, 0, pad, pad], np.int64))
    return writer.node("Pad", [x, amounts], f"{name}.padded", mode="reflect"), 0


def conv_shape(weight: NDArray[Any], stride: int, pad: int) -> dict[str, Any]:
    """Attributes of a Conv."""
    return {"kernel_shape": list(weight.shape[2:]), "strides": [stride] * 2, "pads": [pad] * 4}


def max_pool(writer: GraphWriter, x: str) -> str:
    """The max pooling, 3 x 3 with stride 2."""
    return writer.node("MaxPool", [x], "maxpool.out", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
