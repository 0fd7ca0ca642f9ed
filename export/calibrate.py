"""Ranges of the activations, measured on frames, for static quantisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.optional import import_optional
from crwedge.export.precision import LEVELS, Ranges

_BINS = 2048
_SKIPPED = ("frames.float", "frames.chw", "frames.scaled", "length", "length.safe")


def calibrate(
    onnx_bytes: bytes, frames: Iterable[NDArray[np.uint8]], on_progress: Callable[[int], None] | None = None
) -> Ranges:
    """Choose the range of every activation of a float32 graph.

    The range minimises the mean squared error of symmetric 8-bit quantisation over all values seen. It is rounded to three
    digits, so that it does not depend on the order of floating-point sums.

    Args:
        onnx_bytes: the float32 graph of the encoder.
        frames: RGB uint8 (H, W, 3).
        on_progress: called with the number of frames processed.

    Raises:
        SourceError: there is no frame.
    """
    session, names = _observed(onnx_bytes)
    counts = {name: np.zeros(_BINS, np.int64) for name in names}
    tops: dict[str, float] = {}
    number = 0
    for number, frame in enumerate(frames, start=1):
        for name, values in zip(names, session.run(names, {"frames": frame[None]}), strict=True):
            magnitudes = np.abs(values).ravel()
            top = float(magnitudes.max())
            if top > tops.get(name, 0.0):
                # Some headroom for later frames; larger values fall into the last bin.
                counts[name], tops[name] = _widen(counts[name], tops.get(name, 0.0), top * 1.5), top * 1.5
            if tops.get(name, 0.0) > 0:
                scaled = np.minimum(magnitudes * (_BINS / tops[name]), _BINS - 1).astype(np.int64)
                counts[name] += np.bincount(scaled, minlength=_BINS)
        if on_progress:
            on_progress(number)
    if number == 0:
        raise SourceError("there is no frame for calibration; give a video with at least one frame")
    return {name: best_range(counts[name], tops.get(name, 0.0)) for name in names}


def best_range(counts: NDArray[np.int64], top: float) -> float:
    """The magnitude up to `top` with the least error of clipping and rounding to 127 levels.

    Args:
        counts: histogram of magnitudes in equal bins over 0..`top`.
        top: right edge of the last bin.
    """
    if top <= 0:
        return 1.0
    used = int(np.flatnonzero(counts)[-1]) + 1
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    best, min_loss = used / len(counts), np.inf
    for share in np.linspace(0.2, 1.0, 161):
        limit = share * used / len(counts)
        step = limit / LEVELS
        error = centres - np.minimum(np.rint(centres / step), LEVELS) * step
        loss = float((counts * error**2).sum())
        if loss < min_loss:
            best, min_loss = limit, loss
    return float(f"{best * top:.3g}")


def _widen(counts: NDArray[np.int64], old: float, new: float) -> NDArray[np.int64]:
    """The same histogram over a wider range."""
    out = np.zeros_like(counts)
    if old > 0:
        centres = (np.arange(len(counts)) + 0.5) * (old / new)
        np.add.at(out, centres.astype(np.int64), counts)
    return out


def _observed(onnx_bytes: bytes) -> tuple[Any, list[str]]:
    """A session that also outputs every activation, and their names."""
    onnx, ort = import_optional("onnx", extra="export"), import_optional("onnxruntime", extra="cpu")
    model = onnx.load_from_string(onnx_bytes)
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = ("Relu", "Conv", "Add", "MaxPool")
    names = [node.output[0] for node in model.graph.node if node.op_type in kinds and node.output[0] not in weights]
    relus = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}
    names = [name for name in names if name not in relus and name not in _SKIPPED]
    for name in names:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, names
