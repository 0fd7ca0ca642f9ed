"""What `crwedge bench` measures: stages of the tracker, and propagation against the dense affinity."""

from __future__ import annotations

import platform
import resource
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import Bundle
from crwedge.core.images import grid_size
from crwedge.core.scene import render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.eval.metrics import boundary_f, jaccard
from crwedge.runtime.ops.power import Meter, find_sensor
from crwedge.runtime.propagation.attention import cpu_count
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.neighbourhood import is_global, neighbours
from crwedge.runtime.propagation.propagator import LabelPropagator
from crwedge.runtime.tracker import Tracker

_CHANNELS = 256


def device_facts(threads: int | None) -> dict[str, Any]:
    """The machine, and its float32 matrix-product rate in GFLOP/s (best of five)."""
    rng = np.random.default_rng(0)
    a = rng.random((1536, 1536), np.float32)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * 1536**3 / (time.perf_counter() - start) / 1e9)
    return {
        "device": f"{platform.machine()}, {threads or cpu_count()} of {cpu_count()} processors, {platform.system()}",
        "matmul_gflops": round(best, 1),
    }


def bench_row(
    bundle: Bundle,
    engine: str,
    settings: PropagationSettings,
    size: tuple[int, int],
    frames: int,
    threads: int | None,
) -> dict[str, Any]:
    """Track a rendered scene of `size`; stages and whole in milliseconds, of the frames that meet a full context.

    Where the board or the GPU tells its watts, the mean of them over these frames, and joules a frame.
    """
    warm = settings.context_length + 1
    scene = render_scene(warm + frames, *size)
    stages: dict[str, list[float]] = {}
    whole, found = [], []
    with Tracker.open(bundle, engine, settings, workers=threads) as tracker:
        for index in range(warm):
            labels = tracker.step(scene.frames[index], scene.masks[0] if index == 0 else None)
            found.append(np.packbits(labels.ids > 0))
        # Nothing but the steps: what is scored between them would be in the watts.
        with Meter(find_sensor(tracker.backend.on_device)) as meter:
            for frame in scene.frames[warm:]:
                start = time.perf_counter()
                labels = tracker.step(frame)
                whole.append(1e3 * (time.perf_counter() - start))
                found.append(np.packbits(labels.ids > 0))
                for stage, value in tracker.stages_ms.items():
                    stages.setdefault(stage, []).append(value)
        name = tracker.engine.name
    scores = []
    for bits, mask in zip(found[1:], scene.masks[1:], strict=True):
        have, true = np.unpackbits(bits, count=mask.size).reshape(mask.shape) > 0, mask > 0
        scores.append((jaccard(have, true) + boundary_f(have, true)) / 2)
    return {
        "engine": name,
        "precision": bundle.manifest.precision,
        "size": f"{size[0]}x{size[1]}",
        "stages_ms": {stage: round(float(np.median(values)), 1) for stage, values in stages.items()},
        "whole_ms": {f"p{q}": round(float(np.percentile(whole, q)), 1) for q in (50, 95)},
        "fps": round(1e3 / float(np.mean(whole)), 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "JF": round(100 * float(np.mean(scores)), 1),
        **meter.report(frames),
    }


def bench_dense(
    settings: PropagationSettings, size: tuple[int, int], gflops: float, threads: int | None
) -> dict[str, Any]:
    """One frame of propagation on random features: the dense affinity of the whole context in blocks, and ours."""
    h, w = grid_size(*size)
    rng = np.random.default_rng(0)
    base = rng.normal(size=(_CHANNELS, h, w)).astype(np.float32)

    def made() -> NDArray[np.float32]:
        frame = base + np.float32(0.7) * rng.normal(size=base.shape).astype(np.float32)
        return np.asarray(frame / np.linalg.norm(frame, axis=0), np.float32)

    soft = np.ascontiguousarray(rng.dirichlet(np.ones(2), size=(h, w)).astype(np.float32).transpose(2, 0, 1))
    context = ContextBuffer(settings)
    context.pin(made(), soft)
    for _ in range(settings.context_length):
        context.append(made(), soft)
    query, propagator = made(), LabelPropagator(settings, threads)
    propagator(query, context)
    ours, dense = [], []
    for _ in range(3):
        start = time.perf_counter()
        propagator(query, context)
        ours.append(1e3 * (time.perf_counter() - start))
    start = time.perf_counter()
    dense_affinity(query, context, settings)
    dense.append(1e3 * (time.perf_counter() - start))
    propagator.close()
    near = neighbours(settings)
    cells = sum(h * w if is_global(settings, frame) else near for frame in context.frames())
    floor_ms = 2e3 * cells * h * w * _CHANNELS / (gflops * 1e9)
    return {
        "against_dense": {
            "dense_ms": round(dense[0], 1),
            "ours_ms": round(float(np.median(ours)), 1),
            "ratio": round(dense[0] / float(np.median(ours)), 1),
        },
        "propagation_share_of_floor": round(floor_ms / float(np.median(ours)), 3),
    }


def dense_affinity(
    query: NDArray[np.float32], context: ContextBuffer, settings: PropagationSettings
) -> NDArray[np.float32]:
    """Every cell against every cell of the context, masked, then top-k: (h * w, K)."""
    c, h, w = query.shape
    q = np.ascontiguousarray(query.reshape(c, -1).T)
    keys = np.concatenate([np.asarray(frame.features, np.float32).reshape(-1, c) for frame in context.frames()])
    labels = np.concatenate([context.labels_of(f) for f in context.frames()])
    ys, xs = np.divmod(np.arange(h * w), w)
    out = np.empty((h * w, labels.shape[1]), np.float32)
    for start in range(0, h * w, 200):
        rows = slice(start, start + 200)
        affinity = q[rows] @ keys.T
        far = (ys[rows, None] - ys) ** 2 + (xs[rows, None] - xs) ** 2 >= settings.radius**2
        for number, frame in enumerate(context.frames()):
            if not is_global(settings, frame):
                affinity[:, number * h * w : (number + 1) * h * w][far] = -np.inf
        best = np.argpartition(affinity, -settings.topk, axis=1)[:, -settings.topk :]
        found = np.take_along_axis(affinity, best, axis=1)
        weights = np.exp((found - found.max(axis=1, keepdims=True)) / settings.temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        out[rows] = (labels[best] * weights[..., None]).sum(axis=1)
    return out
