"""Check and time propagation on an NVIDIA GPU.

    python benchmarks/gpu.py                      needs PyCUDA, and nvcc or NVRTC
    python benchmarks/gpu.py --compile sm_90      compiles on a machine without a GPU, for one without a compiler:
                                                  carry the folder it names over and set CRWEDGE_KERNELS to it
    python benchmarks/gpu.py --on-cpu             tries the script itself on an emulated device; its times mean nothing

Results go to benchmarks/results/<device>.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks import gpu_checks, gpu_timing  # noqa: E402
from crwedge.core.errors import CrwedgeError  # noqa: E402
from crwedge.core.settings import PropagationSettings  # noqa: E402
from crwedge.runtime.backends.cuda.compiler import compile_cubin, kernel_cache  # noqa: E402
from crwedge.runtime.backends.cuda.driver import Driver  # noqa: E402
from crwedge.runtime.backends.cuda.pycuda_driver import open_driver  # noqa: E402
from crwedge.runtime.backends.cuda.source import Variant, choose_variant  # noqa: E402
from tests.emulated_cuda import EmulatedCuda  # noqa: E402

SIZES = {"480p": (480, 854), "720p": (720, 1280)}
LABELS = (2, 11, 101)
"""1, 10 and 100 objects, and the background."""
CONTEXTS = (7, 20)


def main() -> int:
    """Run; 0 when every check passed, 2 when there is no GPU, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=None, help="default: fresh random data")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--compile", metavar="sm_XX", help="only compile the kernels for a device, and say where they are"
    )
    parser.add_argument(
        "--on-cpu", action="store_true", help="an emulated device on the CPU: tries the script, writes nothing"
    )
    options = parser.parse_args()
    try:
        if options.compile:
            return compile_for(options.compile)
        driver = EmulatedCuda() if options.on_cpu else open_driver(options.device)
        return measure(driver, options)
    except CrwedgeError as error:
        print(f"benchmarks/gpu.py: {error}", file=sys.stderr)
        return 2


def compile_for(architecture: str) -> int:
    """Compile every variant for a device into the kernels' folder."""
    major, minor = int(architecture[3:-1]), int(architecture[-1])
    for variant in variants((major, minor)):
        compile_cubin("attention.cu", architecture, variant)
        compile_cubin("frames.cu", architecture, variant)
    print(f"kernels for {architecture}: {kernel_cache()}")
    return 0


def variants(capability: tuple[int, int], channels: int = 256) -> list[Variant]:
    """What is worth timing on a device: tiles of both heights with tensor cores, and the plain kernels."""
    best = choose_variant(capability, channels)
    return ([best, Variant(True, channels, 2)] if best.tensor else []) + [Variant(False, channels, 2)]


def measure(driver: Driver, options: argparse.Namespace) -> int:
    """Check, time, print, write."""
    seed = options.seed if options.seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    facts = driver.facts
    print(
        f"{facts.name}, compute capability {facts.capability[0]}.{facts.capability[1]}, driver {facts.driver}, seed {seed}"
    )
    result: dict[str, Any] = {
        "device": facts.name,
        "capability": list(facts.capability),
        "driver": facts.driver,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seed": seed,
    }
    grid, frames = ((9, 11), 4) if options.on_cpu else ((23, 31), 8)
    passed = check(driver, rng, grid, frames, result)
    if not options.on_cpu:
        stream = driver.stream()
        result["matrix_tflops"] = gpu_timing.matrix_rate(driver, stream) / 1e12
        result["bandwidth_gb_s"] = gpu_timing.bandwidth(driver, stream) / 1e9
        print(f"mma.sync {result['matrix_tflops']:.1f} TFLOP/s, copies {result['bandwidth_gb_s']:.0f} GB/s")
        time_all(driver, rng, options.repeats, result)
        time_whole_steps(options.repeats, result)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"{facts.name.lower().replace(' ', '-').replace('/', '-')}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"written to {path}")
    else:
        times = gpu_timing.time_step(
            driver, (72, 88), 3, PropagationSettings(context_length=2, topk=3, radius=3), rng, 1
        )
        print(f"tried: {', '.join(sorted(times))} (on a CPU, so the times mean nothing and are not shown)")
    print("all checks passed" if passed else "SOME CHECKS FAILED")
    return 0 if passed else 1


def check(driver: Driver, rng: np.random.Generator, grid: tuple[int, int], frames: int, result: dict[str, Any]) -> bool:
    """Every setting on every variant against the reference."""
    rows = result["checks"] = []
    for variant in variants(driver.facts.capability):
        for name, settings in gpu_checks.CASES.items():
            video = gpu_checks.random_video(rng, frames, grid, 3)
            row = {"case": name, "tensor": variant.tensor, "row_warps": variant.row_warps}
            row |= gpu_checks.check(driver, settings, video, variant)
            rows.append(row)
    for labels in LABELS:
        rows.append({"case": f"output, {labels} labels", **gpu_checks.check_output(driver, rng, grid, labels)})
    for row in rows:
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
    return all(bool(row["passed"]) for row in rows)


def time_all(driver: Driver, rng: np.random.Generator, repeats: int, result: dict[str, Any]) -> None:
    """Each size, context and number of labels; the default protocol."""
    rows = result["times"] = []
    rate, bytes_s = result["matrix_tflops"] * 1e12, result["bandwidth_gb_s"] * 1e9
    for size_name, size in SIZES.items():
        for m in CONTEXTS:
            settings = PropagationSettings(context_length=m)
            for labels in LABELS:
                for variant in variants(driver.facts.capability):
                    times = gpu_timing.time_step(driver, size, labels, settings, rng, repeats, variant)
                    cells = -(-size[0] // 8), -(-size[1] // 8)
                    floor = gpu_timing.floor_ms(settings, cells, 256, labels, rate, bytes_s)
                    row = {"size": size_name, "m": m, "labels": labels, "tensor": variant.tensor}
                    row |= {"row_warps": variant.row_warps, "ms": times, "floor_ms": floor}
                    row["over_floor"] = times["propagation"] / floor["floor"]
                    rows.append(row)
                    print(
                        f"  {size_name} m {m} labels {labels} {'tensor' if variant.tensor else 'plain'}{variant.row_warps}: "
                        f"propagation {times['propagation']:.3f} ms, {row['over_floor']:.1f} times its floor of "
                        f"{floor['floor']:.3f} ms; label map {times['upsample_argmax']:.3f} ms"
                    )


def time_whole_steps(repeats: int, result: dict[str, Any]) -> None:
    """The whole step on each engine that works here; reasons for the others."""
    rows = result["whole_step"] = []
    for engine in ("tensorrt", "cuda"):
        for size_name, size in SIZES.items():
            row: dict[str, Any] = {"engine": engine, "size": size_name}
            try:
                row |= gpu_timing.whole_step(engine, size, max(100, repeats))
                print(f"  {engine} {size_name}: {row['fps']:.0f} frames a second, p95 {row['p95_ms']:.2f} ms")
            except CrwedgeError as error:
                row["reason"] = str(error)
                print(f"  {engine} {size_name}: not timed, {error}")
            rows.append(row)


if __name__ == "__main__":
    raise SystemExit(main())
