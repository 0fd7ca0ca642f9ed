"""The tables of docs/scale.md, from measured figures and stated ones.

    python benchmarks/scale.py                              # print them
    python benchmarks/scale.py --measure DAVIS --write      # measure and simulate anew, and put them into the page

Measured: benchmarks/results/fleet-cpu.json and queueing.json, and the size of the shipped bundle. Stated: the constants below.
`--measure` runs benchmarks/fleet.py and benchmarks/queueing.py (a minute or two; run nothing beside them).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
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
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


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


def measure(root: Path, frames: int) -> None:
    """Replace the measured figures: first the time of a frame, then the simulation that draws from it."""
    here, fleet = Path(__file__).parent, RESULTS / "fleet-cpu.json"
    commands = [
        ["fleet.py", root, "--frames", frames, "--json", fleet],
        ["queueing.py", "--times", fleet, "--processors", SERVER, "--rate", RATE, "--json", RESULTS / "queueing.json"],
    ]
    for script, *arguments in commands:
        subprocess.run(
            [sys.executable, here / str(script), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
        )


def with_tables(page: str, tables: str) -> str:
    """The page with each table in place of the one that has its first line."""
    for table in tables.strip().split("\n\n"):
        head = table.partition("\n")[0]
        old = re.search(rf"^{re.escape(head)}(?:\n\|.*)*", page, flags=re.M)
        if old is None:
            raise SystemExit(f"{PAGE} has no table that begins with {head}")
        page = page.replace(old[0], table)
    return page


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, metavar="DAVIS", help="measure anew, on these sequences")
    parser.add_argument("--frames", type=int, default=30, help="of each sequence that is measured")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure, given.frames)
    if given.write:
        PAGE.write_text(with_tables(PAGE.read_text(), scale_tables()))
    print(scale_tables(), end="")


if __name__ == "__main__":
    main()
