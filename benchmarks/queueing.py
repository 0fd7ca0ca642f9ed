"""How many cameras one machine follows: frames dropped and their age, against the load, by simulation.

    python benchmarks/queueing.py [--times benchmarks/results/fleet-cpu.json] [--processors 2] [--rate 15] [--json FILE]

The model is that of `crwedge track --late drop`: each camera sends a frame every 1 / rate seconds (with a jitter of 5 %, from a
phase of its own); a frame waits in a place for one frame, where a newer frame of that camera takes its place and the older one
is dropped; a free processor takes the frame that has waited longest, and is busy for a time that is drawn from measured ones.
The load is cameras x rate x mean time / processors.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """What came of the frames of all cameras."""

    arrived: int
    labelled: int
    dropped: int
    waiting: int
    """Neither, when the time was over."""
    ages: NDArray[np.float64]
    """Seconds from the arrival of each labelled frame to its end."""

    @property
    def drop_rate(self) -> float:
        """Part of the frames that was dropped."""
        return self.dropped / max(1, self.dropped + self.labelled)


def simulate(
    cameras: int,
    rate: float,
    processors: int,
    times: NDArray[np.float64],
    seconds: float,
    seed: int,
    jitter: float = 0.05,
) -> Outcome:
    """Simulate `seconds` of all cameras.

    Args:
        cameras: number of them.
        rate: frames a second of each.
        processors: frames that are computed at once.
        times: measured seconds of a frame; one is drawn for each.
        seconds: how long.
        seed: of the draws.
        jitter: standard deviation of the time between two frames, as a part of it.
    """
    rng = np.random.default_rng(seed)
    order = itertools.count()
    # (time, order, kind, camera): kind 0 is the end of a frame, before an arrival of the same moment.
    events: list[tuple[float, int, int, int]] = [
        (float(phase), next(order), 1, camera) for camera, phase in enumerate(rng.uniform(0, 1 / rate, cameras))
    ]
    heapq.heapify(events)
    place: dict[int, float] = {}
    """Camera -> arrival of the frame that waits. The order of the keys is that in which cameras began to wait."""
    busy: set[int] = set()
    free, arrived, dropped, ages = processors, 0, 0, []
    while events and events[0][0] <= seconds:
        now, _, kind, camera = heapq.heappop(events)
        if kind == 1:
            arrived += 1
            dropped += camera in place
            place[camera] = now
            gap = max(0.0, rng.normal(1.0, jitter)) / rate
            heapq.heappush(events, (now + gap, next(order), 1, camera))
        else:
            free += 1
            busy.discard(camera)
        # A camera's frames are labelled one after the other: the tracker of each is one thread.
        for ready in [c for c in place if c not in busy][:free]:
            begun = place.pop(ready)
            busy.add(ready)
            free -= 1
            end = now + float(rng.choice(times))
            if end <= seconds:
                ages.append(end - begun)
            heapq.heappush(events, (end, next(order), 0, ready))
    unfinished = arrived - dropped - len(ages)
    return Outcome(arrived, len(ages), dropped, unfinished, np.asarray(ages))


def table(
    times: NDArray[np.float64], processors: int, rate: float, loads: list[float], seconds: float, seed: int = 0
) -> list[dict[str, Any]]:
    """One row a load; with the number of cameras that comes nearest."""
    rows = []
    for cameras in sorted({max(1, round(load * processors / (rate * times.mean()))) for load in loads}):
        found = simulate(cameras, rate, processors, times, seconds, seed)
        exact = cameras * rate * float(times.mean()) / processors
        rows.append(
            {
                "cameras": cameras,
                "load": round(exact, 3),
                "drop_rate": round(found.drop_rate, 4),
                "fluid_limit": round(max(0.0, 1 - 1 / exact), 4),
                "frames_a_second_each": round(found.labelled / seconds / cameras, 2),
                "age_p50_ms": round(1e3 * float(np.percentile(found.ages, 50))),
                "age_p95_ms": round(1e3 * float(np.percentile(found.ages, 95))),
            }
        )
    return rows


def main() -> None:
    """Print the table as lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=Path, default=Path(__file__).parent / "results" / "fleet-cpu.json")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--rate", type=float, default=15.0)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 0.8, 0.95, 1.0, 1.25, 1.5, 2.0, 3.0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="Times the measured time of a frame: a faster machine."
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    measured = json.loads(given.times.read_text())["processor_ms"]
    times = np.concatenate([np.asarray(values) for values in measured.values()]) / 1e3 * given.scale
    rows = table(times, given.processors, given.rate, given.loads, given.seconds)
    for row in rows:
        print(json.dumps(row))
    if given.json is not None:
        facts = {**{k: v for k, v in vars(given).items() if k not in ("times", "json")}, "rows": rows}
        given.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
