"""The encoder in PyTorch and in ONNX Runtime, in every precision, in turn in one process.

    python benchmarks/encoder.py [CHECKPOINT] [--size 480x854] [--threads 2] [--rounds 15] [--profile] [--json FILE]

Each round runs every candidate once on the same frame, so that other load on the machine hits all alike; what is
reported is the median time, and the median over the rounds of the ratios within a round. `--profile` adds the share of
every kind of operator in the int8 graph, which is where its limit lies.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from crwedge.core.images import parse_size
from crwedge.core.scene import render_scene
from crwedge.export.build import find_checkpoint, write_graph
from crwedge.export.precision import PRECISIONS
from crwedge.export.report import count_work
from crwedge.model.checkpoint import load_encoder

BARS = {"float32 over PyTorch": 1.4, "int8 over float32": 1.7}


def session(data: bytes, threads: int, profile: Path | None = None) -> Any:
    """A session with the options of the CPU engine."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def candidates(
    checkpoint: str | None, threads: int, size: tuple[int, int]
) -> tuple[dict[str, Callable[[NDArray[np.uint8]], object]], dict[str, bytes]]:
    """What is timed, and the ONNX files."""
    encoder, info = load_encoder(find_checkpoint(checkpoint))
    graphs = {
        precision: write_graph(encoder, info, precision, None, False, None).onnx  # type: ignore[arg-type]
        for precision in PRECISIONS
    }
    torch.set_num_threads(threads)
    runs: dict[str, Callable[[NDArray[np.uint8]], object]] = {
        "PyTorch eager float32": lambda frame: encoder.features(torch.from_numpy(frame)[None])
    }
    for precision, data in graphs.items():
        runs[f"ONNX Runtime {precision}"] = _runner(session(data, threads))
    return runs, graphs


def _runner(opened: Any) -> Callable[[NDArray[np.uint8]], object]:
    return lambda frame: opened.run(None, {"frames": frame[None]})


def operator_shares(data: bytes, frame: NDArray[np.uint8], threads: int, runs: int = 5) -> dict[str, float]:
    """Share of the time of each kind of operator, of a graph as ONNX Runtime optimised it."""
    with tempfile.TemporaryDirectory() as folder:
        opened = session(data, threads, Path(folder) / "profile")
        for _ in range(runs):
            opened.run(None, {"frames": frame[None]})
        events = json.loads(Path(opened.end_profiling()).read_text())
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    total = sum(spent.values())
    return {name: value / total for name, value in spent.most_common()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="encoder file, run or bundle; default: the shipped encoder")
    parser.add_argument("--size", default="480x854")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    size = parse_size(arguments.size)
    frame = render_scene(1, *size).frames[0]
    runs, graphs = candidates(arguments.checkpoint, arguments.threads, size)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(arguments.rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run(frame)
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
    torch_ms, float_ms, _, int8_ms = times.values()
    ratios = {
        "float32 over PyTorch": statistics.median(a / b for a, b in zip(torch_ms, float_ms, strict=True)),
        "int8 over float32": statistics.median(a / b for a, b in zip(float_ms, int8_ms, strict=True)),
    }
    print(
        f"{arguments.size}, {count_work(graphs['float32'], size)[1]:.1f} GFLOP, {arguments.threads} threads, "
        f"{arguments.rounds} rounds, load {os.getloadavg()[0]:.1f}, onnxruntime {ort.__version__}, torch {torch.__version__}"
    )
    for name, values in times.items():
        print(f"  {name:<24} median {statistics.median(values):7.1f} ms   least {min(values):7.1f} ms")
    for name, ratio in ratios.items():
        print(f"  {name:<24} {ratio:.2f} times faster (bar {BARS[name]})")
    shares = operator_shares(graphs["int8"], frame, arguments.threads) if arguments.profile else {}
    for kind, share in shares.items():
        print(f"  int8: {kind:<18} {100 * share:5.1f} %")
    if arguments.json:
        result = {
            "size": arguments.size,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "load": os.getloadavg()[0],
            "machine": platform.processor() or platform.machine(),
            "onnxruntime": ort.__version__,
            "torch": torch.__version__,
            "median_ms": {name: statistics.median(values) for name, values in times.items()},
            "least_ms": {name: min(values) for name, values in times.items()},
            "ratios": ratios,
            "int8_shares": shares,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
