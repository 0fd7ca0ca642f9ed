"""The contrastive random walk in loops and float64, as algorithm 1 says it. Nothing here is shared with the package."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Vectors = Sequence[Sequence[float]]
Matrix = list[list[float]]


def affinity(q: Vectors, k: Vectors, temperature: float) -> Matrix:
    return [[sum(a * b for a, b in zip(one, other, strict=True)) / temperature for other in k] for one in q]


def softmax_rows(A: Matrix) -> Matrix:
    out = []
    for row in A:
        top = max(row)
        weights = [math.exp(value - top) for value in row]
        out.append([weight / sum(weights) for weight in weights])
    return out


def product(a: Matrix, b: Matrix) -> Matrix:
    return [[sum(a[i][m] * b[m][j] for m in range(len(b))) for j in range(len(b[0]))] for i in range(len(a))]


def palindrome(frames: Sequence[Vectors], s: int, temperature: float, back: Vectors | None = None) -> Matrix:
    """Probability to return: 1 -> .. -> s -> .. -> 1, or to `back` in place of 1. Frames count from 1."""
    path = [*frames[:s], *frames[s - 2 :: -1]] if s > 1 else [frames[0], frames[0]]
    if back is not None:
        path = [*path[:-1], back]
    walk: Matrix | None = None
    for here, there in itertools.pairwise(path):
        step = softmax_rows(affinity(here, there, temperature))
        walk = step if walk is None else product(walk, step)
    assert walk is not None
    return walk


def loss(frames: Sequence[Vectors], temperature: float) -> float:
    """Mean over s = 2..T and over nodes of -log P(return)."""
    total, count = 0.0, 0
    for s in range(2, len(frames) + 1):
        walk = palindrome(frames, s, temperature)
        for node in range(len(walk)):
            total -= math.log(walk[node][node])
            count += 1
    return total / count


def loss_to_views(
    frames: Sequence[Vectors], back: Vectors, target: Matrix, seen: Sequence[bool], temperature: float
) -> float:
    """Mean over s = 2..T plus the direct step s = 1; each a mean over the nodes seen of the cross-entropy."""

    def cross_entropy(walk: Matrix) -> float:
        rows = [i for i in range(len(walk)) if seen[i]]
        return sum(-t * math.log(p) for i in rows for t, p in zip(target[i], walk[i], strict=True) if t > 0) / len(rows)

    cycles = [cross_entropy(palindrome(frames, s, temperature, back)) for s in range(2, len(frames) + 1)]
    return cross_entropy(palindrome(frames, 1, temperature, back)) + (sum(cycles) / len(cycles) if cycles else 0.0)
