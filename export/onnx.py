"""The encoder as an ONNX graph, written node by node from its weights.

There is no tracing: the graph has only the nodes that the encoder needs. BatchNorm is folded in float64. The same weights
give the same bytes. Input `frames` is RGB uint8 (N, H, W, 3), output `features` float32 (N, C, ceil(H / 8), ceil(W / 8)) of
unit length over C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import grid_size
from crwedge.export.graph import GraphWriter
from crwedge.export.precision import FloatTrunk, Precision, QuantTrunk, Ranges, Trunk

INPUT, OUTPUT = "frames", "features"

_BN_EPS = 1e-5
_NORM_EPS = 1e-12
_BLOCKS = {"resnet18": (2, 2, 2), "resnet50": (3, 4, 6)}

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Recipe:
    """Options of the graph."""

    architecture: str
    """resnet18 or resnet50."""
    padding: str
    """zeros or reflect."""
    mean: tuple[float, ...]
    """RGB in 0..1."""
    std: tuple[float, ...]
    """RGB in 0..1."""
    size: tuple[int, int] | None = None
    """Fixed (H, W) and batch 1, or None for any size and batch."""
    precision: Precision = "float32"
    stored_as: type[np.floating[Any]] = np.float32
    """Type of the stored weights: float16 halves the file of a float32 graph, which still computes in float32."""


def build_onnx(
    weights: Weights, recipe: Recipe, *, ranges: Ranges | None = None, facts: Mapping[str, str] | None = None
) -> bytes:
    """The ONNX file of an encoder.

    Args:
        weights: torchvision names, res1 to res3.
        recipe: architecture, preprocessing, size, precision.
        ranges: of the activations; required for int8.
        facts: metadata of the file.

    Returns:
        The bytes; the same arguments give the same bytes.
    """
    writer = GraphWriter()
    trunk = _trunk(writer, recipe, ranges)
    x = trunk.enter(_normalise(writer, recipe))
    x = trunk.conv(x, "conv1", *fold(weights, "conv1", "bn1"), 2, relu=True)
    x = trunk.pool(x)
    for name, stride in block_names(recipe.architecture):
        x = _block(trunk, weights, x, name, stride, recipe.architecture)
    x = trunk.leave(x)
    if "whiten.weight" in weights:  # in float32 at every precision
        x = _unit_length(writer, x, "features.plain")
        x = _whiten(writer, weights, x, recipe.stored_as)
    _unit_length(writer, x, OUTPUT)
    n, height, width = (1, *recipe.size) if recipe.size else ("N", "H", "W")
    h, w = grid_size(*recipe.size) if recipe.size else ("h", "w")
    return writer.finish(
        "crwedge-encoder",
        {INPUT: (np.uint8, (n, height, width, 3))},
        {OUTPUT: (np.float32, (n, channels(recipe.architecture), h, w))},
        facts or {},
    )


def fold(weights: Weights, conv: str, bn: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight and bias of the convolution that equals `conv` followed by `bn` in evaluation mode."""
    w = weights[f"{conv}.weight"].astype(np.float64)
    gamma, beta, mean, var = (
        weights[f"{bn}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + _BN_EPS)
    return w * scale[:, None, None, None], beta - mean * scale


def block_names(architecture: str) -> list[tuple[str, int]]:
    """Name and stride of every residual block, in order."""
    return [
        (f"layer{stage}.{index}", stride if index == 0 else 1)
        for stage, (blocks, stride) in enumerate(zip(_BLOCKS[architecture], (1, 2, 1), strict=True), start=1)
        for index in range(blocks)
    ]


def channels(architecture: str) -> int:
    """Channels of the features."""
    return 256 if architecture == "resnet18" else 1024


def _trunk(writer: GraphWriter, recipe: Recipe, ranges: Ranges | None) -> Trunk:
    if recipe.precision == "int8":
        return QuantTrunk(writer, recipe.padding, ranges or {})
    if recipe.precision == "float16":
        return FloatTrunk(writer, recipe.padding, np.float16, np.float16)
    return FloatTrunk(writer, recipe.padding, np.float32, recipe.stored_as)


def _normalise(writer: GraphWriter, recipe: Recipe) -> str:
    """(x / 255 - mean) / std as one product and one sum in float32."""
    x = writer.cast(INPUT, np.float32, "frames.float")
    x = writer.node("Transpose", [x], "frames.chw", perm=[0, 3, 1, 2])
    std = np.array(recipe.std, np.float64)
    scale, shift = 1 / (255 * std), -np.array(recipe.mean, np.float64) / std
    x = writer.node("Mul", [x, writer.tensor("scale", scale.astype(np.float32).reshape(1, 3, 1, 1))], "frames.scaled")
    return writer.node(
        "Add", [x, writer.tensor("shift", shift.astype(np.float32).reshape(1, 3, 1, 1))], "frames.normal"
    )


def _unit_length(writer: GraphWriter, x: str, output: str) -> str:
    """Divide by the length over the channels; not as LpNormalization, which few engines support."""
    length = writer.node("ReduceL2", [x], f"{output}.length", axes=[1], keepdims=1)
    least = writer.tensor("epsilon", np.array([_NORM_EPS], np.float32))
    length = writer.node("Max", [length, least], f"{output}.length.safe")
    return writer.node("Div", [x, length], output)


def _whiten(writer: GraphWriter, weights: Weights, x: str, stored_as: type[np.floating[Any]]) -> str:
    """The linear map of `crwedge.model.whiten`."""
    weight = writer.tensor("whiten.weight", weights["whiten.weight"].astype(stored_as))
    if stored_as is not np.float32:
        weight = writer.cast(weight, np.float32, "whiten.weight.float")
    bias = writer.tensor("whiten.bias", weights["whiten.bias"].astype(np.float32))
    return writer.node("Conv", [x, weight, bias], "whiten", kernel_shape=[1, 1])


def _block(trunk: Trunk, weights: Weights, x: str, name: str, stride: int, architecture: str) -> str:
    """A residual block."""
    plan = (("1", stride), ("2", 1)) if architecture == "resnet18" else (("1", 1), ("2", stride), ("3", 1))
    shortcut = x
    if f"{name}.downsample.0.weight" in weights:
        down = f"{name}.downsample.0"
        shortcut = trunk.conv(x, down, *fold(weights, down, f"{name}.downsample.1"), stride, relu=False)
    for number, step in plan:
        conv = f"{name}.conv{number}"
        folded = fold(weights, conv, f"{name}.bn{number}")
        x = trunk.conv(x, conv, *folded, step, relu=number != plan[-1][0])
    return trunk.join(x, shortcut, name)
