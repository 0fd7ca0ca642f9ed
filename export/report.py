"""Size and speed of a bundle: megabytes, nodes, GFLOP, milliseconds on every engine of this machine."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.errors import CrwedgeError, MissingExtraError
from crwedge.core.optional import import_optional
from crwedge.runtime.backends.open import ENGINES, open_engine

Size = tuple[int, int]
DEFAULT_SIZE = (480, 854)


@dataclass(frozen=True)
class Report:
    """Size and speed of a bundle."""

    size: Size
    """(H, W) of the frame that was timed."""
    megabytes: float
    """Size of `encoder.onnx`."""
    nodes: int | None
    """None where the package onnx is not installed."""
    gflop: float | None
    """Of the convolutions; a multiplication and an addition count as two."""
    milliseconds: dict[str, float]
    """Median time of a frame, by engine."""
    missing: dict[str, str]
    """Engines that could not be timed, and why."""

    def lines(self) -> list[str]:
        """Lines of text."""
        height, width = self.size
        text = [f"size: {self.megabytes:.1f} MB"]
        if self.nodes is not None and self.gflop is not None:
            text[0] += f", {self.nodes} nodes, {self.gflop:.1f} GFLOP a frame of {height}x{width}"
        for name, value in self.milliseconds.items():
            text.append(f"speed: {value:.0f} ms a frame of {height}x{width} on {name}")
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "size": list(self.size),
            "onnx_mb": round(self.megabytes, 3),
            "nodes": self.nodes,
            "gflop": None if self.gflop is None else round(self.gflop, 3),
            "ms": {name: round(value, 2) for name, value in self.milliseconds.items()},
            "missing": self.missing,
        }


def report(bundle: Bundle, runs: int = 5) -> Report:
    """Measure a bundle at its fixed size, or at 480 x 854.

    Times are medians of a few runs on a machine that may be busy. To compare engines, run `benchmarks/encoder.py`.
    """
    size = bundle.manifest.size or DEFAULT_SIZE
    onnx = bundle.read(ONNX)
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    times: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name in ENGINES:
        if name == "auto":
            continue
        try:
            engine = open_engine(bundle, name)
        except CrwedgeError as error:
            missing[name] = str(error)
            continue
        try:
            engine.run(frame)
            spent = []
            for _ in range(runs):
                start = time.perf_counter()
                engine.run(frame)
                spent.append(1e3 * (time.perf_counter() - start))
            times[engine.name] = float(np.median(spent))
        finally:
            engine.close()
    nodes: int | None = None
    gflop: float | None = None
    with contextlib.suppress(MissingExtraError):
        nodes, gflop = count_work(onnx, size)
    return Report(size, len(onnx) / 1e6, nodes, gflop, times, missing)


def count_work(onnx_bytes: bytes, size: Size) -> tuple[int, float]:
    """Nodes of a graph, and GFLOP of its convolutions for a frame of `size` = (H, W)."""
    onnx = import_optional("onnx", extra="export")
    model = onnx.load_from_string(onnx_bytes)
    for dimension, value in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, *size, 3), strict=True):
        dimension.dim_value = value
    for dimension in model.graph.output[0].type.tensor_type.shape.dim:
        dimension.Clear()
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    shapes.update({tensor.name: list(tensor.dims) for tensor in model.graph.initializer})
    work = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            _, per_output, *kernel = shapes[node.input[1]]
            work += 2 * per_output * int(np.prod(kernel)) * int(np.prod(shapes[node.output[0]]))
    return len(model.graph.node), work / 1e9
