"""How many threads pay off while other programs want the same cores.

Two threads wait for each other after every operation: where a neighbour holds one of two cores, they can be several
times slower than one.
"""

from __future__ import annotations

import statistics

import torch

_CYCLE, _TRIAL = 24, 4


class Threads:
    """Tries the other count now and then, and keeps the faster one. Changes rounding, so it is used only when asked."""

    def __init__(self, most: int) -> None:
        """Begin with `most` threads."""
        self._most, self._best, self._count = most, most, 0
        self._times: dict[int, list[float]] = {1: [], most: []}
        torch.set_num_threads(most)

    def step(self, seconds: float) -> None:
        """One step took so long."""
        place = self._count % _CYCLE
        self._count += 1
        current = torch.get_num_threads()
        if place not in (0, _CYCLE - _TRIAL):  # a step right after a change warms up
            self._times.setdefault(current, []).append(seconds)
        if place == _CYCLE - _TRIAL - 1:
            other = 1 if self._best == self._most else self._most
            self._times = {count: times[-_TRIAL:] for count, times in self._times.items()}
            self._times[other] = []
            torch.set_num_threads(other)
        elif place == _CYCLE - 1:
            medians = {count: statistics.median(times) for count, times in self._times.items() if times}
            self._best = min(medians, key=lambda count: medians[count])
            torch.set_num_threads(self._best)
