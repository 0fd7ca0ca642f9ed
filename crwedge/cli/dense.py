"""Dense forms of label propagation, which the tracker's is timed against: every cell against every cell of the context."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from crwedge.core.images import grid_size
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.attention import cpu_count
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.jit import kernel
from crwedge.runtime.propagation.neighbourhood import compared_pairs, half_heights, is_global
from crwedge.runtime.propagation.propagator import LabelPropagator
from crwedge.runtime.region import Region

_CHANNELS = 256
_ROWS = 256
_ROUNDS = 3
Labels = NDArray[np.float32]


@dataclass(frozen=True)
class DenseProblem:
    """One frame of propagation as arrays."""

    query: NDArray[np.float32]
    """(N, C) features of the cells of the frame."""
    keys: NDArray[np.float32]
    """(T, N, C) features of the context."""
    labels: Labels
    """(T * N, K) soft labels of the context."""
    near: NDArray[np.bool_]
    """(N, N): whether two cells are neighbours."""
    everywhere: NDArray[np.bool_]
    """(T,): which context frames are searched everywhere."""
    topk: int
    temperature: float

    @classmethod
    def of(cls, query: NDArray[np.float32], context: ContextBuffer, settings: PropagationSettings) -> DenseProblem:
        """From features (C, h, w) and a context of frames of the same size."""
        c, h, w = query.shape
        frames = context.frames()
        ys, xs = np.divmod(np.arange(h * w), w)
        near = np.ones((h * w, h * w), np.bool_)
        if settings.local:
            reach = half_heights(settings)
            dx, dy = np.abs(xs[:, None] - xs), np.abs(ys[:, None] - ys)
            near = (dx < len(reach)) & (dy <= reach[np.minimum(dx, len(reach) - 1)])
        return cls(
            np.ascontiguousarray(query.reshape(c, -1).T),
            np.stack([np.asarray(frame.features, np.float32).reshape(-1, c) for frame in frames]),
            np.concatenate([context.labels_of(frame) for frame in frames]),
            near,
            np.array([is_global(settings, frame.pinned) for frame in frames]),
            settings.topk,
            settings.temperature,
        )


def blas_and_scan(problem: DenseProblem, threads: int) -> Labels:
    """BLAS for the affinity, `_ROWS` cells x one context frame at a time, and a compiled running top-k: (N, K)."""
    n, cells = len(problem.query), problem.keys.shape[1]
    best = np.full((n, problem.topk), -np.inf, np.float32)
    entries = np.zeros((n, problem.topk), np.int64)
    with threadpool_limits(threads, "blas"), ThreadPoolExecutor(threads) as pool:
        for start in range(0, n, _ROWS):
            rows = slice(start, min(start + _ROWS, n))
            parts = np.array_split(np.arange(rows.start, rows.stop), threads)
            for t, keys in enumerate(problem.keys):
                affinity = problem.query[rows] @ keys.T

                def scan(part: NDArray[np.int64], t: int = t, affinity: Labels = affinity, at: int = start) -> None:
                    if len(part):
                        own = slice(part[0], part[-1] + 1)
                        inner = slice(part[0] - at, part[-1] + 1 - at)
                        _keep_best(
                            affinity[inner],
                            problem.near[own],
                            bool(problem.everywhere[t]),
                            t * cells,
                            best[own],
                            entries[own],
                        )

                list(pool.map(scan, parts))
    weights = np.exp((best - best[:, :1]) / np.float32(problem.temperature))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("nkl,nk->nl", problem.labels[entries], weights), np.float32)


@kernel
def _keep_best(
    affinity: NDArray[np.float32],
    near: NDArray[np.bool_],
    everywhere: bool,
    first_entry: int,
    best: NDArray[np.float32],
    entries: NDArray[np.int64],
) -> None:
    """Merge the affinities (R, N) of one context frame into falling lists (R, k)."""
    last = best.shape[1] - 1
    for row in range(affinity.shape[0]):
        for cell in range(affinity.shape[1]):
            value = affinity[row, cell]
            if value > best[row, last] and (everywhere or near[row, cell]):
                at = last
                while at > 0 and best[row, at - 1] < value:
                    best[row, at] = best[row, at - 1]
                    entries[row, at] = entries[row, at - 1]
                    at -= 1
                best[row, at] = value
                entries[row, at] = first_entry + cell


def torch_form(problem: DenseProblem, threads: int, rows: int) -> Callable[[], Labels]:
    """The published form in PyTorch, `rows` cells at a time; ImportError without PyTorch."""
    import torch

    torch.set_num_threads(threads)
    n = len(problem.query)
    query, keys = torch.from_numpy(problem.query), torch.from_numpy(problem.keys.reshape(-1, problem.keys.shape[2]))
    labels = torch.from_numpy(problem.labels)
    far = torch.where(torch.from_numpy(problem.near), 0.0, -torch.inf)
    windowed = torch.from_numpy(np.flatnonzero(~problem.everywhere))

    def run() -> Labels:
        out = torch.empty(n, labels.shape[1])
        with torch.no_grad():
            for start in range(0, n, rows):
                part = slice(start, min(start + rows, n))
                affinity = (query[part] @ keys.T).view(-1, len(problem.keys), n)
                for t in windowed.tolist():
                    affinity[:, t] += far[part]
                values, found = torch.topk(affinity.view(affinity.shape[0], -1).div_(problem.temperature), problem.topk)
                out[part] = (labels[found] * torch.softmax(values, dim=1)[..., None]).sum(dim=1)
        return np.asarray(out.numpy())

    return run


def dense_forms(problem: DenseProblem, threads: int) -> dict[str, Callable[[], Labels]]:
    """Name -> a dense form that runs on this machine; the whole matrix at once only where memory allows."""
    forms: dict[str, Callable[[], Labels]] = {
        "BLAS with a compiled running top-k": lambda: blas_and_scan(problem, threads)
    }
    n = len(problem.query)
    try:
        forms["PyTorch, 512 cells at a time"] = torch_form(problem, threads, 512)
        if 12 * n * n * len(problem.keys) < _available_bytes():
            forms["PyTorch, the whole matrix"] = torch_form(problem, threads, n)
    except ImportError:
        pass
    return forms


def bench_dense(
    settings: PropagationSettings, size: tuple[int, int], gflops: float, threads: int | None
) -> dict[str, Any]:
    """One frame of propagation on random features that resemble each other: ours against the fastest dense form.

    Every form runs once; the fastest dense one and ours then take turns, and the medians are compared.

    Returns:
        For `crwedge bench --json`: the names and milliseconds of all forms, and the ratio; and the share of the time that
        matrix products of the pairs that are compared would take.
    """
    if settings.cells is not None:
        # What a region computes: as many cells as the budget has.
        size = Region(settings.cells, settings.region_margin, size).overview.size
    h, w = grid_size(*size)
    workers = threads or cpu_count()
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
    problem = DenseProblem.of(query, context, settings)
    blas_and_scan(replace(problem, query=problem.query[:1], near=problem.near[:1]), workers)  # compiles
    forms = dense_forms(problem, workers)
    once = {name: _milliseconds(form) for name, form in forms.items()}
    fastest = min(once, key=lambda name: once[name])
    propagator(query, context)
    ours, dense = [], []
    for _ in range(_ROUNDS):
        ours.append(_milliseconds(lambda: propagator(query, context)))
        dense.append(_milliseconds(forms[fastest]))
    propagator.close()
    pairs = sum(compared_pairs(settings, (h, w), frame.pinned) for frame in context.frames())
    floor_ms = 2e3 * pairs * _CHANNELS / (gflops * 1e9)
    return {
        "against_dense": {
            "dense": fastest,
            "dense_ms": round(float(np.median(dense)), 1),
            "ours_ms": round(float(np.median(ours)), 1),
            "ratio": round(float(np.median(dense)) / float(np.median(ours)), 1),
            "all_dense_ms": {name: round(value, 1) for name, value in once.items()},
        },
        "propagation_share_of_floor": round(floor_ms / float(np.median(ours)), 3),
    }


def _milliseconds(form: Callable[[], object]) -> float:
    start = time.perf_counter()
    form()
    return 1e3 * (time.perf_counter() - start)


def _available_bytes() -> int:
    """Memory that is free now; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
