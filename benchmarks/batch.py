"""Throughput of `crwedge batch` beside that of plain processes that run the same sessions, on the same clips, in turn.

    python benchmarks/batch.py --clips 200 --seconds 3 --workers 2 --repeats 1

Plain: W processes at once, each with its share of the clips in a loop over `Session`, one engine, no hashes, no manifest, no
records, no retries. Their rates are added. Batch: `run_batch` with W worker processes. Both use the same number of threads a
process. The time of each begins with its first frame of work: starting interpreters and engines is left out on both sides by a
clip of warming up, which is what a run over ten thousand clips sees.

Prints one line of JSON: for each pair the rates in frames a second and their ratio (batch over plain), the processor time of
all processes from start to end and its ratio (plain over batch), which other programs disturb less, and the machine's load.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from crwedge.batch.driver import run_batch
from crwedge.batch.events import Event, Finished
from crwedge.batch.jobs import BatchOptions, make_jobs
from crwedge.batch.machine import Machine
from crwedge.batch.open import open_results
from crwedge.batch.plan import plan_rows
from crwedge.batch.pool import LocalPool
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.scene import render_scene
from crwedge.runtime.backends.engine import LockedEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.session import Session
from crwedge.runtime.session_options import SessionOptions


def write_clips(folder: Path, count: int, seconds: float, fps: int, size: tuple[int, int], scenes: int) -> None:
    """Rendered clips; `scenes` of them differ, the others are copies."""
    import av

    folder.mkdir(parents=True)
    for number in range(count):
        film, mask = folder / f"c{number:04d}.mp4", folder / f"c{number:04d}.png"
        if number >= scenes:
            shutil.copy(folder / f"c{number % scenes:04d}.mp4", film)
            shutil.copy(folder / f"c{number % scenes:04d}.png", mask)
            continue
        scene = render_scene(round(seconds * fps), *size, seed=number)
        with av.open(str(film), "w") as container:
            stream = container.add_stream("mpeg4", rate=fps)
            stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 4_000_000
            for image in scene.frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        write_mask(mask, scene.masks[0])


def plain_process(films: list[str], out: str, threads: int, ready: Any, results: Any) -> None:
    """One process with its share of the clips."""
    bundle = find_bundle("shipped")
    engine = LockedEngine(open_engine(bundle, "cpu", threads))

    def follow(film: str, number: int) -> int:
        options = SessionOptions(model=bundle, threads=threads)
        mask = read_mask(Path(film).with_suffix(".png"))
        return int(Session(film, mask, [f"{out}/{number}"], options, engine=engine).run()["tracked"])

    follow(films[0], -1)
    ready.wait()
    begin = time.perf_counter()
    frames = sum(follow(film, number) for number, film in enumerate(films[1:]))
    results.put(frames / (time.perf_counter() - begin))


def plain(films: list[str], out: Path, workers: int, threads: int) -> float:
    """Sum of the rates of processes that know nothing of each other, in frames a second."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(workers), context.Queue()
    shares = [films[number::workers] for number in range(workers)]
    processes = [
        context.Process(target=plain_process, args=(share, str(out / str(number)), threads, ready, results))
        for number, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    rates = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return float(sum(rates))


def batch(folder: Path, out: Path, workers: int, threads: int) -> float:
    """Rate of a batch from the moment when every worker has ended its first clip, in frames a second."""
    results = open_results(str(out))
    jobs = make_jobs(plan_rows([str(folder)]), BatchOptions(model="shipped", engine="cpu"))
    pool = LocalPool(results, Machine(workers, threads, 1e6))
    ended: list[tuple[float, int]] = []

    def see(event: Event) -> None:
        if isinstance(event, Finished):
            assert event.record["state"] == "done", event.record
            ended.append((time.perf_counter(), event.record["frames"]))

    run_batch(jobs, results, lambda count: pool, on_event=see)
    begin = ended[workers - 1][0]
    return sum(frames for _, frames in ended[workers:]) / (ended[-1][0] - begin)


def processor_seconds() -> float:
    """Of this process and of all that it has started and that have ended."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def main() -> None:
    """Run the pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--fps", type=int, default=24)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 432), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    load = [round(value, 2) for value in os.getloadavg()]
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_clips(root / "clips", given.clips, given.seconds, given.fps, tuple(given.size), given.scenes)
        films = sorted(str(path) for path in (root / "clips").glob("*.mp4"))
        for number in range(given.repeats):
            # The order changes from pair to pair, so that a drift of the machine favours neither.
            steps = [
                ("plain", lambda out: plain(films, out, given.workers, given.threads)),
                ("batch", lambda out: batch(root / "clips", out, given.workers, given.threads)),
            ]
            rates, work = {}, {}
            for kind, step in steps if number % 2 == 0 else reversed(steps):
                out, before = root / f"{kind}{number}", processor_seconds()
                rates[kind] = round(step(out), 2)
                work[kind] = round(processor_seconds() - before, 2)
                shutil.rmtree(out)
            ratio, of_work = rates["batch"] / rates["plain"], work["plain"] / work["batch"]
            pairs.append({**rates, "ratio": round(ratio, 4), "work": work, "ratio_of_work": round(of_work, 4)})
    print(
        json.dumps(
            {
                **vars(given),
                "pairs": pairs,
                "load_before": load,
                "load_after": [round(value, 2) for value in os.getloadavg()],
                "processors": os.cpu_count(),
                "machine": platform.machine(),
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()
