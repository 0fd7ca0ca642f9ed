"""What viewers cost the tracker: its rate with ten viewers, one of them stalled, against none, in turns within one run.

    python benchmarks/serve.py [--size HxW] [--phases N] [--seconds S] [--viewers N] [--threads N] [--json FILE]

A rendered film is tracked over and over as fast as the tracker can, with the shipped encoder on the CPU and the page served.
In odd phases nobody looks; in even ones so many viewers do, from a process of its own, as they would from other machines. One
of them connects and never reads. Reported is the median over pairs of neighbouring phases of the rate with viewers over the
rate without, what share of one processor the viewers' own process took (it competes here, and would not elsewhere), and the
load of the machine. The first pair warms up and is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import crwedge as cw
from crwedge.core.images import parse_size
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.session import Session
from crwedge.runtime.sources.arrays import ArraySource
from crwedge.runtime.web.server import serve_desk
from crwedge.runtime.web.stream_desk import StreamDesk

RESULT = Path(__file__).parent / "results" / "serve-cpu.json"


def main() -> None:
    """Run, print, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(240, 426))
    parser.add_argument("--phases", type=int, default=9, help="pairs of phases")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--view", nargs=2, metavar=("URL", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.view:
        view(given.view[0], int(given.view[1]))
        return
    result = measure(given.size, given.phases, given.seconds, given.viewers, given.threads)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(size: tuple[int, int], pairs: int, seconds: float, viewers: int, threads: int | None) -> dict[str, Any]:
    """The figures of one run."""
    scene = render_scene(48, *size)
    session = Session(
        ArraySource(itertools.cycle(scene.frames)),
        scene.masks[0],
        [],
        cw.SessionOptions(model=find_bundle("shipped"), engine="cpu", threads=threads, confidence=True),
    )
    rates: dict[str, list[float]] = {"none": [], "viewers": []}
    shares: list[float] = []
    load = os.getloadavg()
    with (
        tempfile.TemporaryDirectory() as folder,
        StreamDesk(session, Path(folder)) as desk,
        serve_desk(desk, "0") as served,
    ):
        thread = threading.Thread(target=session.run)
        thread.start()
        while session.stats.tracked < 20:
            time.sleep(0.1)
        for _ in range(pairs + 1):
            rates["none"].append(rate(session, seconds))
            command = [sys.executable, __file__, "--view", served.url, str(viewers)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdout.readline()
                rates["viewers"].append(rate(session, seconds))
                seen = len(desk.viewers)
                process.stdin.close()
                shares.append(float(process.stdout.readline()) / seconds)
            assert seen == viewers, f"{seen} of {viewers} viewers were there"
        session.stop()
        thread.join()
    ratios = [b / a for a, b in zip(rates["none"][1:], rates["viewers"][1:], strict=True)]
    return {
        "size": list(size),
        "viewers": viewers,
        "threads": threads,
        "processors": os.cpu_count(),
        "load_before": [round(one, 2) for one in load],
        "frames_a_second": {way: [round(one, 2) for one in found[1:]] for way, found in rates.items()},
        "ratios": [round(one, 4) for one in ratios],
        "ratio_median": round(statistics.median(ratios), 4),
        "viewers_share_of_a_processor": round(statistics.median(shares[1:]), 3),
        "dropped_for_viewers": desk.viewers.dropped,
    }


def rate(session: Session, seconds: float) -> float:
    """Frames tracked a second, over a phase."""
    begin, before = time.perf_counter(), session.stats.tracked
    time.sleep(seconds)
    return (session.stats.tracked - before) / (time.perf_counter() - begin)


def view(url: str, count: int) -> None:
    """Look on until standard input ends; the last viewer never reads."""
    from websockets.sync.client import connect

    address = url.replace("http", "ws") + "api/live"
    readers = [connect(address, max_size=1 << 24) for _ in range(count - 1)]
    for reader in readers:
        threading.Thread(target=lambda one=reader: [None for _ in one], daemon=True).start()
    host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
    stalled = socket.create_connection((host, int(port)))
    stalled.sendall(
        f"GET /api/live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    time.sleep(0.5)
    begin = time.process_time()
    print("ready", flush=True)
    sys.stdin.read()
    print(time.process_time() - begin, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
