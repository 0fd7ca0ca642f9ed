"""Measurements of `crwedge bench`: stages, memory and accuracy of the tracker on a rendered scene."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.core.scene import render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.eval.metrics import boundary_f, jaccard
from crwedge.runtime.ops.power import Meter, find_sensor
from crwedge.runtime.ops.stats import peak_rss_mb
from crwedge.runtime.propagation.attention import cpu_count
from crwedge.runtime.tracker import Tracker


def device_facts(threads: int | None) -> dict[str, Any]:
    """Description of the machine, and the rate of its float32 matrix product in GFLOP/s (best of five)."""
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
    """Track a rendered scene of `size` = (H, W) and time `frames` frames after the context is full.

    Returns:
        Mean number of cells computed for a frame, median milliseconds of each stage, percentiles of the whole step, frames per
        second, peak memory, J&F in points, and mean watts and joules a frame where the machine has a power sensor.
    """
    warm = settings.context_length + 1
    scene = render_scene(warm + frames, *size)
    stages: dict[str, list[float]] = {}
    whole, found, cells = [], [], []
    with Tracker.open(bundle, engine, settings, workers=threads) as tracker:
        for index in range(warm):
            labels = tracker.step(scene.frames[index], scene.masks[0] if index == 0 else None)
            found.append(np.packbits(labels.ids > 0))
        # Scoring comes later, so that its power is not measured.
        with Meter(find_sensor(tracker.backend.on_device)) as meter:
            for frame in scene.frames[warm:]:
                start = time.perf_counter()
                labels = tracker.step(frame)
                cells.append(labels.soft[0].size)
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
        "cells": round(float(np.mean(cells))),
        "stages_ms": {stage: round(float(np.median(values)), 1) for stage, values in stages.items()},
        "whole_ms": {f"p{q}": round(float(np.percentile(whole, q)), 1) for q in (50, 95)},
        "fps": round(1e3 / float(np.mean(whole)), 2),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "JF": round(100 * float(np.mean(scores)), 1),
        **meter.report(frames),
    }
