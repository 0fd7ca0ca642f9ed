"""The arithmetic of the encoder's trunk in three precisions, as ONNX nodes.

A trunk writes convolutions, the pooling and the residual sums; `crwedge.export.onnx` says which and in what order. What
comes before (pixels to normalised floats) and after (unit length) is float32 in every precision.

Int8 is symmetric with zero point 0 throughout, which is all that TensorRT takes. Activations that a ReLU made
non-negative are uint8, which ONNX Runtime's fast convolution on x86 needs; signed sums are int8, which ONNX Runtime turns
into uint8 by itself, since each has one consumer. The scales use 127 levels, so that the same numbers hold when
`to_signed_activations` makes every activation int8. Biases stay float32: TensorRT knows no int32 ones.
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

WIDE = ("conv1",)
"""Layers that stay in float32 in an int8 graph."""

Ranges = Mapping[str, float]
"""The largest magnitude that is kept of each activation, by the name of the activation in the float32 graph."""


class Trunk(Protocol):
    """Writes the parts of a residual network; values are named, NCHW."""

    def enter(self, x: str) -> str:
        """Normalised float32 frames -> the trunk's own type."""
        ...

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """A convolution, with a ReLU if asked."""
        ...

    def pool(self, x: str) -> str:
        """The max pooling, 3 x 3 with stride 2."""
        ...

    def join(self, x: str, shortcut: str, name: str) -> str:
        """ReLU of the sum of a block's two branches."""
        ...

    def leave(self, x: str) -> str:
        """The trunk's own type -> float32."""
        ...


class FloatTrunk:
    """Float32 arithmetic, or float16.

    Args:
        writer: the graph.
        padding: zeros or reflect.
        kind: type of the arithmetic.
        stored_as: float16 halves the file of a float32 graph; weights are widened where they are used.
    """

    def __init__(
        self, writer: GraphWriter, padding: str, kind: type[np.floating[Any]], stored_as: type[np.floating[Any]]
    ) -> None:
        """Nothing is written yet."""
        self.writer, self.padding, self.kind, self.stored_as = writer, padding, kind, stored_as

    def enter(self, x: str) -> str:
        """See `Trunk`."""
        return x if self.kind is np.float32 else self.writer.cast(x, self.kind, "frames.half")

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """See `Trunk`."""
        x, pad = reflect_pad(self.writer, x, name, weight.shape[2] // 2, self.padding)
        inputs = [x, self._parameter(f"{name}.weight", weight), self._parameter(f"{name}.bias", bias)]
        x = self.writer.node("Conv", inputs, f"{name}.out", **conv_shape(weight, stride, pad))
        return self.writer.node("Relu", [x], f"{name}.relu") if relu else x

    def pool(self, x: str) -> str:
        """See `Trunk`."""
        return max_pool(self.writer, x)

    def join(self, x: str, shortcut: str, name: str) -> str:
        """See `Trunk`."""
        return self.writer.node("Relu", [self.writer.node("Add", [x, shortcut], f"{name}.sum")], f"{name}.out")

    def leave(self, x: str) -> str:
        """See `Trunk`."""
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
    """Int8 arithmetic as Q/DQ pairs: weights by output channel, activations by tensor, biases left in float32.

    Args:
        writer: the graph.
        padding: zeros or reflect.
        ranges: of every activation.
        wide: what stays in float32: layers whose names start with one of these.
    """

    def __init__(self, writer: GraphWriter, padding: str, ranges: Ranges, wide: tuple[str, ...] = WIDE) -> None:
        """Nothing is written yet."""
        self.writer, self.padding, self.ranges, self.wide = writer, padding, ranges, wide
        self._float = FloatTrunk(writer, padding, np.float32, np.float32)
        self._quantised: dict[str, str] = {}
        self._signed: set[str] = set()

    def enter(self, x: str) -> str:
        """See `Trunk`."""
        self._signed.add(x)
        return x

    def conv(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], stride: int, relu: bool) -> str:
        """See `Trunk`. The output is not quantised yet: whoever takes it as int8 does that."""
        if name.startswith(self.wide):
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
        wide = writer.node("DequantizeLinear", facts, f"{name}.weight", axis=0)
        inputs = [x, wide, writer.tensor(f"{name}.bias", bias.astype(np.float32))]
        x = writer.node("Conv", inputs, f"{name}.out", **conv_shape(weight, stride, pad))
        if relu:
            return writer.node("Relu", [x], f"{name}.relu")
        self._signed.add(x)
        return x

    def pool(self, x: str) -> str:
        """See `Trunk`."""
        return self._float.pool(x)

    def join(self, x: str, shortcut: str, name: str) -> str:
        """See `Trunk`."""
        if not name.startswith(self.wide):
            x, shortcut = self._quantise(x, x), self._quantise(shortcut, shortcut)
        return self._float.join(x, shortcut, name)

    def leave(self, x: str) -> str:
        """See `Trunk`. The last sum is not quantised: its values are the features."""
        return x

    def _quantise(self, x: str, key: str) -> str:
        """Q and DQ of `x` with the range of the activation `key`, once."""
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
    """The same int8 graph with every activation int8, which is how TensorRT wants it; others are returned as they are.

    All unsigned activations share one zero point, a tensor of a few bytes, of which the one that tells its type changes.
    """

    def zero(kind: int) -> bytes:
        # TensorProto: data_type (2), name (8), raw_data (9).
        return bytes([0x10, kind, 0x42, len(_UNSIGNED)]) + _UNSIGNED.encode() + b"\x4a\x01\x00"

    uint8, int8 = 2, 3
    return onnx.replace(zero(uint8), zero(int8))


def reflect_pad(writer: GraphWriter, x: str, name: str, pad: int, padding: str) -> tuple[str, int]:
    """Pad by reflection as a node of its own; returns the value and the padding left for the convolution."""
    if not pad or padding != "reflect":
        return x, pad
    amounts = writer.tensor(f"{name}.pads", np.array([0, 0, pad, pad, 0, 0, pad, pad], np.int64))
    return writer.node("Pad", [x, amounts], f"{name}.padded", mode="reflect"), 0


def conv_shape(weight: NDArray[Any], stride: int, pad: int) -> dict[str, Any]:
    """Attributes of a Conv."""
    return {"kernel_shape": list(weight.shape[2:]), "strides": [stride] * 2, "pads": [pad] * 4}


def max_pool(writer: GraphWriter, x: str) -> str:
    """The network's one pooling."""
    return writer.node("MaxPool", [x], "maxpool.out", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
