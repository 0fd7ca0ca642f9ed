"""The tables of docs/scale.md, from measured figures and stated ones.

    python benchmarks/scale.py

Measured: benchmarks/results/fleet-cpu.json and queueing.json, and the size of the shipped bundle. Stated: the constants below.
"""

from __future__ import annotations

import json
from pathlib import Path

from crwedge.runtime.bundle_lookup import shipped_bundle

RATE = 5.0
"""Frames a second of a camera."""
LOAD = 0.8
"""Part of the processors' time that is planned for."""
PRICE = 0.04
"""US dollars of a rented processor for an hour. An assumption: put in your own."""
VIDEO = 4e6
"""Bits a second of a camera's own video: H.264 at 1080p, the usual setting of such cameras. An assumption."""
BOX, SERVER = 2, 16
"""Processors of a small machine beside the cameras, and of a server."""
RESULTS = Path(__file__).parent / "results"


def scale_tables() -> str:
    """Markdown."""
    fleet = json.loads((RESULTS / "fleet-cpu.json").read_text())
    seconds = fleet["mean_ms"] / 1e3
    line = sum(row["json"] for row in fleet["mask_bytes"].values()) / len(fleet["mask_bytes"])
    packed = sum(row["json_zlib"] for row in fleet["mask_bytes"].values()) / len(fleet["mask_bytes"])
    bundle = sum(file.stat().st_size for file in shipped_bundle().iterdir())
    processors = RATE * seconds / LOAD
    hours = 1e6 * seconds / 3600
    unit = [
        "| one camera at 5 frames a second | |",
        "|---|---|",
        f"| processor time of a frame | {1e3 * seconds:.0f} ms |",
        f"| processors, at a load of {LOAD:g} | {processors:.2f} |",
        f"| memory of its process | {fleet['peak_rss_mb']:.0f} MB |",
        f"| a mask as a line of JSON; with zlib | {line:.0f} bytes; {packed:.0f} bytes |",
        f"| masks on the network | {8 * RATE * line / 1e3:.0f} kbit/s; with zlib {8 * RATE * packed / 1e3:.0f} kbit/s |",
        f"| masks of a day | {86400 * RATE * line / 1e6:.0f} MB; with zlib {86400 * RATE * packed / 1e6:.0f} MB |",
        f"| a million frames | {hours:.1f} processor-hours: {hours * PRICE:.2f} dollars at {PRICE:g} an hour |",
        f"| 30 days | {30 * 24 * processors * PRICE:.2f} dollars at {PRICE:g} an hour |",
    ]
    fleets = (10, 1_000, 100_000)
    rows = {
        "cameras": [f"{n:,}" for n in fleets],
        "processors": [f"{n * processors:,.0f}" for n in fleets],
        f"machines of {BOX} processors beside the cameras": [f"{_machines(n, processors, BOX):,}" for n in fleets],
        f"or servers of {SERVER} processors": [f"{_machines(n, processors, SERVER):,}" for n in fleets],
        "network, if only masks leave": [_bits(n * 8 * RATE * line) for n in fleets],
        "network, if all video goes to servers": [_bits(n * VIDEO) for n in fleets],
        "masks of a day, with zlib": [_bytes(n * 86400 * RATE * packed) for n in fleets],
        "frames of a day": [f"{n * 86400 * RATE / 1e6:,.1f} million" for n in fleets],
        f"a new model ({bundle / 1e6:.1f} MB) on every small machine": [
            _bytes(_machines(n, processors, BOX) * bundle) for n in fleets
        ],
    }
    head, *others = rows.items()
    many = [f"| {head[0]} | {' | '.join(head[1])} |", "|---|" + "---:|" * len(fleets)]
    many += [f"| {name} | {' | '.join(values)} |" for name, values in others]
    queue = json.loads((RESULTS / "queueing.json").read_text())["rows"]
    busy = [
        "| cameras | load | frames dropped | 1 - 1/load | frames a second of each | age, median | age, 95 % |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    busy += [
        f"| {row['cameras']} | {row['load']:.2f} | {100 * row['drop_rate']:.1f} % | {100 * row['fluid_limit']:.1f} % "
        f"| {row['frames_a_second_each']:.2f} | {row['age_p50_ms']} ms | {row['age_p95_ms']} ms |"
        for row in queue
    ]
    return "\n\n".join("\n".join(part) for part in (unit, many, busy)) + "\n"


def _machines(cameras: int, processors: float, size: int) -> int:
    """Machines, of which each takes a whole number of cameras."""
    each = max(1, int(size / processors))
    return -(-cameras // each)


def _bits(value: float) -> str:
    return _scaled(value, "bit/s")


def _bytes(value: float) -> str:
    return _scaled(value, "B")


def _scaled(value: float, unit: str) -> str:
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {letter}{unit}"
    return f"{value:.0f} {unit}"


if __name__ == "__main__":
    print(scale_tables(), end="")
