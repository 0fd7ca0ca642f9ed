"""Times of kernels and of the whole step, and the floor they are set against."""

from __future__ import annotations

import time
from collections.abc import Callable
from ctypes import Structure, c_int, c_uint64
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.gpu_checks import Run, random_video
from crwedge.core.bundle import Bundle
from crwedge.core.engine_key import Profile
from crwedge.core.settings import PropagationSettings
from crwedge.export.engines import ensure_engine
from crwedge.export.tensorrt import BuildOptions
from crwedge.runtime.backends.cuda.compiler import compile_now
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.propagation.neighbourhood import compared_pairs
from crwedge.runtime.propagation.view import Size
from crwedge.runtime.tracker import Tracker


class Rate(Structure):
    """Of `matrix_rate` in matrix_rate.cu."""

    _fields_ = (("out", c_uint64), ("rounds", c_int))


def median_ms(driver: Driver, stream: int, work: Callable[[], Any], repeats: int, warm: int = 3) -> float:
    """Median milliseconds of `work` on the device, between two events."""
    first, last = driver.event(), driver.event()
    times = []
    for number in range(warm + repeats):
        driver.record(first, stream)
        work()
        driver.record(last, stream)
        driver.synchronise(stream)
        if number >= warm:
            times.append(driver.elapsed_ms(first, last))
    return float(np.median(times))


def matrix_rate(driver: Any, stream: int) -> float:
    """Operations a second of float16 products with float32 sums (a product and a sum are two)."""
    source = Path(__file__).with_name("matrix_rate.cu")
    module = driver.load_cubin(compile_now(source, driver.facts.architecture, Variant(True)))
    kernel = driver.kernel(module, "matrix_rate")
    blocks, rounds = driver.facts.processors * 8, 2000
    out = driver.allocate(blocks * 256 * 4)
    values = Rate(out, rounds)
    elapsed = median_ms(driver, stream, lambda: driver.launch(kernel, (blocks, 1), 256, 0, values, stream), 10)
    driver.free(out)
    return float(blocks * 8 * rounds * 8 * (2 * 16 * 8 * 16) / (elapsed / 1e3))


def bandwidth(driver: Driver, stream: int, size: int = 256 << 20) -> float:
    """Bytes a second that a copy on the device reads and writes together."""
    source, target = driver.allocate(size), driver.allocate(size)
    elapsed = median_ms(driver, stream, lambda: driver.copy(target, source, size, stream), 10)
    driver.free(source)
    driver.free(target)
    return 2 * size / (elapsed / 1e3)


def floor_ms(
    settings: PropagationSettings, grid: tuple[int, int], channels: int, labels: int, rate: float, bytes_s: float
) -> dict[str, float]:
    """The least time of a step: its operations at the matrix rate, or its bytes at the bandwidth, whichever is more.

    Operations: every cell with every cell of its neighbourhood in m frames, and with all cells of the first. Bytes: all
    features and the k labels of every cell once.
    """
    m, cells = settings.context_length, grid[0] * grid[1]
    pairs = m * compared_pairs(settings, grid, pinned=False) + compared_pairs(settings, grid, pinned=True)
    operations = 2 * channels * pairs
    moved = (m + 2) * cells * channels * 2 + cells * labels * 4 * (settings.topk + 1)
    by_operations, by_bytes = 1e3 * operations / rate, 1e3 * moved / bytes_s
    return {"operations": by_operations, "bytes": by_bytes, "floor": max(by_operations, by_bytes)}


class TimingDriver:
    """A driver that waits for each kernel and notes its time."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._first, self._last = driver.event(), driver.event()
        self.times: dict[str, list[float]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def retain(self) -> TimingDriver:
        """See `Driver.retain`."""
        self._driver.retain()
        return self

    def kernel(self, module: Any, name: str) -> Any:
        """See `Driver.kernel`."""
        return name, self._driver.kernel(module, name)

    def launch(
        self, kernel: Any, grid: tuple[int, int], threads: int, shared: int, params: Structure, stream: int
    ) -> None:
        """See `Driver.launch`."""
        name, function = kernel
        self._driver.record(self._first, stream)
        self._driver.launch(function, grid, threads, shared, params, stream)
        self._driver.record(self._last, stream)
        self.times.setdefault(name, []).append(self._driver.elapsed_ms(self._first, self._last))


def time_step(
    driver: Driver, size: Size, labels: int, settings: PropagationSettings, rng: np.random.Generator,
    repeats: int, variant: Variant | None = None,
) -> dict[str, float]:  # fmt: skip
    """Median milliseconds of each kernel with a full ring; `propagation` is their sum without the label map."""
    video = random_video(rng, 4, (-(-size[0] // 8), -(-size[1] // 8)), labels)
    timing = TimingDriver(driver)
    run = Run(cast(Driver, timing), settings, video, variant)
    for _ in range(settings.context_length + 3):
        run.step()
    timing.times.clear()
    for _ in range(repeats):
        run.step()
        run.prediction.ids(tuple(range(1, labels)), size)
    times = {name: float(np.median(found)) for name, found in timing.times.items()}
    times["propagation"] = sum(times[name] for name in ("store_features", "topk_attention", "merge_topk"))
    times["device_mb"] = run.backend.nbytes / 1e6
    run.backend.close()
    return times


def whole_step(engine: str, size: Size, frames: int) -> dict[str, Any]:
    """Frames a second of `Tracker.step` on random pictures: encoder, propagation and label map.

    Raises:
        CrwedgeError: the engine does not work here.
    """
    bundle = Bundle.open(shipped_bundle())
    if engine == "tensorrt":
        ensure_engine(bundle, options=BuildOptions(Profile.of(size)))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(8)]
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = 1
    times: list[float] = []
    with Tracker.open(bundle, engine, PropagationSettings()) as tracker:
        for number in range(frames + 30):
            start = time.perf_counter()
            tracker.step(pictures[number % 8], mask if number == 0 else None)
            times.append(1e3 * (time.perf_counter() - start))
        name = tracker.engine.name
    kept = np.array(times[30:])
    return {"name": name, "fps": 1e3 / float(kept.mean()), "p50_ms": float(np.median(kept)),
            "p95_ms": float(np.percentile(kept, 95))}  # fmt: skip
