"""A camera of 30 frames a second on the loopback address, tracked by `crwedge track` without any option, and with preset crw.

    python benchmarks/camera.py SEQUENCE [--seconds 16] [--pairs 2] [--size 480x640] [--out FILE]

SEQUENCE has JPEGImages/ and Annotations/. Its frames, resized, are served over HTTP as motion JPEG, forwards and backwards
without end, so that nothing jumps. The two settings take turns; each run is a process of its own that is interrupted after
`--seconds`. Reported are frames a second of the output, and the time from a frame's arrival to its result, as the command's
JSON gives them. The ratio is that of each pair. The server takes a part of the processor, as a camera's decoder would.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import parse_size, resize_frame
from crwedge.core.masks import resize_mask, write_mask
from crwedge.core.pictures import read_picture
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import true_mask
from tests.motion_jpeg import jpegs, motion_jpeg

RATE = 30
WAYS: dict[str, list[str]] = {"no option": [], "--preset crw": ["--preset", "crw"]}


def film_camera(frames: Iterable[Path], size: tuple[int, int]) -> AbstractContextManager[str]:
    """A camera of `RATE` pictures a second: frames, resized to (H, W), forwards and backwards without end."""
    pictures = jpegs((resize_frame(read_picture(path), size) for path in frames), quality=85)
    return motion_jpeg(lambda: itertools.cycle([*pictures, *pictures[-2:0:-1]]), RATE)


def first_mask(clip: Clip, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The true mask of the first frame, resized to (H, W); all objects are one."""
    return np.asarray(resize_mask(true_mask(clip.masks[0], "2016"), size))


def run(url: str, mask: Path, seconds: float, words: list[str]) -> dict[str, float]:
    """Track for some seconds after the first result; rate and latency of the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "labels.jsonl"
        command = [sys.executable, "-m", "crwedge", "track", url, "--mask", mask, "--out", lines, "--json", *words]
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not lines.exists() or not lines.stat().st_size):
            time.sleep(0.05)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {"fps": result["fps"], "p95_ms": result["latency_ms"]["p95"], "tracked": result["tracked"]}


def main() -> None:
    """Run in turn, print, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--seconds", type=float, default=16)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--size", type=parse_size, default=(480, 640))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip = davis_clips(options.sequence)[0]
    rows: list[dict[str, dict[str, float]]] = []
    with film_camera(clip.frames, options.size) as url, tempfile.TemporaryDirectory() as folder:
        mask = Path(folder) / "mask.png"
        write_mask(mask, first_mask(clip, options.size))
        for _ in range(options.pairs):
            rows.append({name: run(url, mask, options.seconds, words) for name, words in WAYS.items()})
            print(json.dumps(rows[-1]), flush=True)
    edge, crw = WAYS
    rate = statistics.median(row[edge]["fps"] / row[crw]["fps"] for row in rows)
    late = statistics.median(row[edge]["p95_ms"] / row[crw]["p95_ms"] for row in rows)
    print(f"{rate:.1f} times the rate, {late:.2f} of the latency (p95); load {os.getloadavg()[0]:.1f}")
    if options.out:
        result = {"clip": clip.name, "size": options.size, "rows": rows, "rate": rate, "latency": late}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
