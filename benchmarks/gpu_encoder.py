"""The whole step, encoder and output included, on whichever engine the machine has."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError


def add_whole_steps(result: dict[str, Any], sizes: dict[str, tuple[int, int]], repeats: int) -> None:
    """Frames a second of encoder, propagation and label map on each engine that works here; reasons for the others."""
    rows = result["whole_step"] = []
    for name in ("tensorrt", "cuda"):
        for size_name, size in sizes.items():
            row: dict[str, Any] = {"engine": name, "size": size_name}
            try:
                row |= _whole_step(name, size, max(100, repeats))
                print(
                    f"  {name} {size_name}: {row['fps']:.0f} frames a second, p95 {row['p95_ms']:.2f} ms, "
                    f"graphs {row['graphs']}, label maps equal to those without graphs: {row['same_maps']}"
                )
            except (CrwedgeError, ImportError) as error:
                row["reason"] = str(error)
                print(f"  {name} {size_name}: not timed, {error}")
            rows.append(row)


def _whole_step(name: str, size: tuple[int, int], frames: int) -> dict[str, Any]:
    from crwedge.core.bundle import Bundle
    from crwedge.core.settings import PropagationSettings
    from crwedge.runtime.backends.engine import resident
    from crwedge.runtime.backends.open import open_engine
    from crwedge.runtime.bundle_lookup import shipped_bundle

    bundle = Bundle.open(shipped_bundle())
    if name == "tensorrt":
        _build(bundle, size)
    engine = open_engine(bundle, name, size=size)
    on_device = resident(engine)
    assert on_device is not None
    settings = PropagationSettings()
    plain, graphs = (follow(on_device, settings, size, 24, graph)[1:] for graph in (False, True))
    same = all(bool((one == other).all()) for one, other in zip(plain[0], graphs[0], strict=True))
    times, *_ = follow(on_device, settings, size, frames + 30, True)
    engine.close()
    kept = np.array(times[30:])
    return {"name": engine.name, "fps": 1e3 / float(kept.mean()), "p50_ms": float(np.median(kept)),
            "p95_ms": float(np.percentile(kept, 95)), "same_maps": same, "graphs": graphs[1]}  # fmt: skip


def follow(
    engine: Any, settings: Any, size: tuple[int, int], frames: int, graph: bool
) -> tuple[list[float], list[NDArray[np.uint8]], str]:
    """Run random pictures through the whole step, as the tracker does, each sent ahead while the one before is computed.

    Returns:
        milliseconds of each frame, the label maps of the last eight, and what was recorded: `whole`, `propagation` or `none`.
    """
    from crwedge.runtime.backends.cuda.propagator import DevicePropagator

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(8)]
    number = 0
    propagator = DevicePropagator(
        engine.driver, settings, stream=engine.stream, graph=graph, say=print,
        meanwhile=lambda: engine.prefetch(pictures[(number + 1) % 8]),
    )  # fmt: skip
    first = engine.run_resident(pictures[0])
    soft = rng.dirichlet([1, 1], size=first.shape[1:]).transpose(2, 0, 1).astype(np.float32)
    propagator.pin(cast(Any, first), soft)
    propagator.ids((1,), size)
    times: list[float] = []
    maps: list[NDArray[np.uint8]] = []
    for number in range(1, frames):
        start = time.perf_counter()
        features = engine.run_resident(pictures[number % 8], later=True)
        propagator.append(cast(Any, features), propagator.propagate(features))
        maps = [*maps[-7:], propagator.ids((1,), size)]
        times.append(1e3 * (time.perf_counter() - start))
    recorded = "whole" if propagator._whole.recorded else "propagation" if propagator._graphs.recorded else "none"
    propagator.clear()
    return times, maps, recorded


def _build(bundle: Any, size: tuple[int, int]) -> None:
    from crwedge.core.engine_key import Profile
    from crwedge.export.engines import ensure_engine
    from crwedge.export.tensorrt import BuildOptions

    ensure_engine(bundle, options=BuildOptions(Profile.of(size)))
