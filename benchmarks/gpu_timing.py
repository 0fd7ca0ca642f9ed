"""Times of kernels and of the whole step, and the floor they are set against."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure, c_int, c_uint64
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_checks import Video, random_video
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda.compiler import compile_now
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.propagator import DevicePropagator
from crwedge.runtime.backends.cuda.source import Variant
from crwedge.runtime.propagation.neighbourhood import neighbours


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
    kernel = driver.kernel(module, "matrix_rate", 0)
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
    (h, w), m = grid, settings.context_length
    cells = h * w
    near = neighbours(settings) if settings.local else cells
    first = cells if settings.first_frame == "global" else near
    operations = 2 * channels * cells * (m * near + first)
    moved = (m + 2) * cells * channels * 2 + cells * labels * 4 * (settings.topk + 1)
    by_operations, by_bytes = 1e3 * operations / rate, 1e3 * moved / bytes_s
    return {"operations": by_operations, "bytes": by_bytes, "floor": max(by_operations, by_bytes)}


def time_step(
    driver: Driver, size: tuple[int, int], labels: int, settings: PropagationSettings, rng: np.random.Generator,
    repeats: int, variant: Variant | None = None,
) -> dict[str, float]:  # fmt: skip
    """Milliseconds of each kernel, of the propagation as one graph, of the label map, and of both, with a full ring."""
    grid = -(-size[0] // 8), -(-size[1] // 8)
    propagator = DevicePropagator(driver, settings, variant=variant)
    video = random_video(rng, 4, grid, labels)
    _fill(propagator, video, settings.context_length)
    stream, memory, kernels = propagator.stream, propagator._memory(), propagator._ready()
    source, current = propagator._arena("source", 0), video.features[1]
    propagator.propagate(current)
    graph = _record(driver, stream, lambda: propagator._queue(kernels, memory, source))
    propagator.ids(tuple(range(1, labels)), size)
    propagator.propagate(current)
    address, out = propagator._arena("ids", 0), propagator._arena("out", 0)
    with_map = _record(driver, stream, lambda: propagator._queue(kernels, memory, source))
    work: dict[str, Callable[[], Any]] = {
        "pack": lambda: kernels.pack(source, memory, stream),
        "attend": lambda: kernels.attend(memory, stream),
        "settle": lambda: kernels.settle(memory, labels, stream),
        "paint": lambda: kernels.paint(memory, address, out, labels, size, stream),
        "propagation": lambda: driver.launch_graph(graph, stream),
        "propagation and label map": lambda: driver.launch_graph(with_map, stream),
    }
    times = {}

    def pack_and_attend() -> None:
        kernels.pack(source, memory, stream)
        kernels.attend(memory, stream)

    for name, queue in work.items():
        # Alone, `attend` would find the bounds that its last run has left, and have less to sort.
        times[name] = median_ms(driver, stream, pack_and_attend if name == "attend" else queue, repeats)
    times["attend"] -= times["pack"]
    times["device_mb"] = propagator.nbytes / 1e6
    driver.free_graph(graph)
    driver.free_graph(with_map)
    propagator.clear()
    return times


def _record(driver: Driver, stream: int, work: Callable[[], None]) -> int:
    driver.begin_capture(stream)
    work()
    return driver.end_capture(stream)


def _fill(propagator: DevicePropagator, video: Video, length: int) -> None:
    """Pin the first frame and fill the ring with frames, so that no copy is counted."""
    propagator.pin(video.features[0], video.soft)
    for number in range(length):
        propagator.append(video.features[1 + number % 3], video.soft)
    assert len(propagator.ring) == length
    propagator.tell(propagator._query)
