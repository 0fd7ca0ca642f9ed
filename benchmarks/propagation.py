"""Propagation of one frame: the published dense algorithm and ours, in one process on the same features.

    python benchmarks/propagation.py [--frames-dir FOLDER --mask PNG] [--repeats N] [--json FILE]

Without footage the features are random but alike from frame to frame. Three ways are timed in turn:

* dense: the affinity of all context cells x all cells as one matrix, masked, top-k over the context (design of the
  published evaluation code; PyTorch).
* dense, chunked: the same, 100 target cells at a time, which bounds its memory.
* ours: tiles times their window, running top-k (crwedge.runtime).

Times are medians of interleaved repeats; memory is the growth of the process's peak over what it held before the call, the
context itself (features and labels of all frames, which each way needs) counted in.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import crwedge as cw
from crwedge.runtime.propagation.attention import cpu_count

M, K, RADIUS, TEMPERATURE = 20, 10, 12, 0.07


def main() -> None:
    """Run, print a table, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames-dir", type=Path, help="folder of pictures (854 x 480)")
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(cpu_count())

    features, first = real_features(options.frames_dir, options.mask) if options.frames_dir else made_features()
    h, w = features[0].shape[1:]
    labels = np.stack([first] * (M + 2)).astype(np.float32)
    query = features[-1]
    keys = [features[0], *features[-1 - M : -1]]
    context_mb = sum(key.nbytes for key in keys) / 1e6 + labels[: M + 1].nbytes / 1e6

    settings = cw.PropagationSettings()
    buffer = cw.ContextBuffer(settings)
    buffer.pin(keys[0], first)
    for key in keys[1:]:
        buffer.append(key, first)
    propagator = cw.LabelPropagator(settings)
    propagator(query, buffer)  # compiles

    torch_keys = torch.from_numpy(np.stack([key.reshape(key.shape[0], -1) for key in keys]))
    torch_labels = torch.from_numpy(np.concatenate([first.reshape(first.shape[0], -1)] * (M + 1), axis=1))
    torch_query = torch.from_numpy(query.reshape(query.shape[0], -1))
    far = distance_mask(h, w)
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: propagator(query, buffer),
        "dense_chunked": lambda: dense(torch_query, torch_keys, torch_labels, far, chunk=100),
        "dense": lambda: dense(torch_query, torch_keys, torch_labels, far, chunk=h * w),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, float] = {}
    results = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            before = reset_peak()
            start = time.perf_counter()
            results[name] = way()
            times[name].append(time.perf_counter() - start)
            peaks[name] = max(peaks.get(name, 0.0), read_status("VmHWM") - before + context_mb)
    ours_flat = results["ours"].reshape(first.shape[0], -1)
    agree = float((np.abs(ours_flat - results["dense"].numpy()).max(axis=0) < 1e-4).mean())

    by_objects: dict[int, tuple[cw.ContextBuffer, list[float]]] = {}
    for count in options.objects:
        soft = np.random.default_rng(0).dirichlet(np.ones(count + 1) * 0.05, size=(h, w)).astype(np.float32)
        several = cw.ContextBuffer(settings)
        several.pin(keys[0], soft.transpose(2, 0, 1))
        for key in keys[1:]:
            several.append(key, soft.transpose(2, 0, 1))
        by_objects[count] = (several, [])
    from crwedge.runtime.propagation.propagator import labels_to_ids

    for _ in range(options.repeats + 2):
        for count, (several, values) in by_objects.items():
            start = time.perf_counter()
            labels_to_ids(propagator(query, several), tuple(range(1, count + 1)), (h * 8, w * 8))
            values.append(time.perf_counter() - start)

    rate = matmul_gflops()
    window, first_frame = 437 * M * h * w * 512 / 1e9, (h * w) ** 2 * 512 / 1e9
    median = {name: float(np.median(values)) for name, values in times.items()}
    fastest_dense = min(median["dense"], median["dense_chunked"])
    report = {
        "device": f"{platform.machine()}, {cpu_count()} processors, numpy {np.__version__}, torch {torch.__version__}",
        "footage": str(options.frames_dir.name) if options.frames_dir else "random features",
        "grid": [h, w],
        "protocol": settings.to_dict(),
        "ms": {name: round(1e3 * value, 1) for name, value in median.items()},
        "peak_mb": {name: round(value, 1) for name, value in peaks.items()},
        "times_faster": {name: round(median[name] / median["ours"], 2) for name in ("dense", "dense_chunked")},
        "times_smaller": {name: round(peaks[name] / peaks["ours"], 2) for name in ("dense", "dense_chunked")},
        "cells_equal_to_dense": agree,
        "matmul_gflops": round(rate, 1),
        "floor_ms": round(1e3 * (window + first_frame) / rate, 1),
        "share_of_floor": round((window + first_frame) / rate / median["ours"], 3),
        "ms_by_objects": {str(n): round(1e3 * float(np.median(v[1:])), 1) for n, (_, v) in by_objects.items()},
    }
    print(
        f"dense {fastest_dense:.2f} s, ours {median['ours']:.2f} s: {fastest_dense / median['ours']:.1f} times faster"
    )
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def distance_mask(h: int, w: int) -> torch.Tensor:
    """(h * w, h * w) float32: 0 within the radius, -inf elsewhere; what the published code builds once."""
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    ys, xs = ys.reshape(-1).float(), xs.reshape(-1).float()
    near = ((ys[:, None] - ys) ** 2 + (xs[:, None] - xs) ** 2).sqrt() < RADIUS
    return torch.where(near, 0.0, -torch.inf)


@torch.no_grad()
def dense(query: torch.Tensor, keys: torch.Tensor, labels: torch.Tensor, far: torch.Tensor, chunk: int) -> torch.Tensor:
    """Dense affinity of the whole context, masked, top-k, softmax, gather: `chunk` target cells at a time.

    query (C, N), keys (T, C, N) with the pinned first frame in front, labels (K, T * N), far (N, N) -> (K, N).
    """
    n = query.shape[1]
    out = torch.empty(labels.shape[0], n)
    for start in range(0, n, chunk):
        columns = slice(start, min(start + chunk, n))
        affinity = torch.einsum("cq,tcn->qtn", query[:, columns], keys)
        affinity[:, 1:] += far[columns, None]
        affinity = affinity.reshape(affinity.shape[0], -1).div_(TEMPERATURE)
        # Along contiguous rows: along columns, as the published layout has it, torch's top-k takes several times as long.
        weights, entries = torch.topk(affinity, K, dim=1)
        weights = torch.softmax(weights, dim=1)
        out[:, columns] = (labels[:, entries] * weights).sum(dim=2)
    return out


def made_features() -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Random unit features of 22 frames at 854 x 480 that resemble each other, and a soft label."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(256, 60, 107)).astype(np.float32)
    features = []
    for _ in range(M + 2):
        frame = base + 0.7 * rng.normal(size=base.shape).astype(np.float32)
        features.append(np.asarray(frame / np.linalg.norm(frame, axis=0), np.float32))
    soft = rng.dirichlet(np.ones(2), size=(60, 107)).astype(np.float32)
    return features, np.ascontiguousarray(soft.transpose(2, 0, 1))


def real_features(folder: Path, mask: Path) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Features of 22 real frames by the shipped encoder, and the soft label of the first."""
    from crwedge.core.labels import soft_labels
    from crwedge.core.masks import object_ids
    from crwedge.runtime.bundle_lookup import find_bundle

    engine = cw.open_engine(find_bundle(), "cpu")
    features = []
    with cw.open_source(folder) as source:
        for frame in source:
            features.append(engine.run(frame.image))
            if len(features) == M + 2:
                break
    ids = cw.read_mask(mask)
    return features, soft_labels(ids, object_ids(ids), features[0].shape[1:])[0]


def matmul_gflops() -> float:
    """The machine's float32 matrix-product rate, all processors, best of five."""
    a = torch.randn(2048, 2048)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return best


def reset_peak() -> float:
    """Start the kernel's peak-memory mark anew; returns the memory held now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_status("VmRSS")


def read_status(field: str) -> float:
    """A field of /proc/self/status, kB to MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1e3
    raise RuntimeError(f"no {field} in /proc/self/status")


if __name__ == "__main__":
    main()
