"""The oracle: label propagation written as the design says it, with loops and float64, slow and obvious.

Nothing here is shared with the package.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def neighbours(y: int, x: int, h: int, w: int, radius: float, window: str) -> list[tuple[int, int]]:
    """All cells of the grid within reach of (y, x)."""
    found = []
    for v in range(h):
        for u in range(w):
            if window == "disc":
                inside = math.sqrt((v - y) ** 2 + (u - x) ** 2) < radius
            else:
                inside = abs(v - y) <= radius and abs(u - x) <= radius
            if inside:
                found.append((v, u))
    return found


def context_of(t: int, m: int, prefill: bool) -> list[int]:
    """Frame numbers in the context of frame t: the pinned first, then the ring."""
    ring = range(t - m, t)
    if prefill:
        return [0, *(max(0, i) for i in ring)]
    return [0, *(i for i in ring if i >= 1)]


def propagate(
    features: list[NDArray[np.float32]],
    first_soft: NDArray[np.float32],
    *,
    m: int,
    k: int,
    radius: float,
    temperature: float,
    window: str = "disc",
    first_frame: str = "global",
    topk_over: str = "joint",
    prefill: bool = True,
) -> list[NDArray[np.float64]]:
    """Soft labels (K, h, w) of every frame; `features` are (C, h, w), unit length over C."""
    labels = [first_soft.astype(np.float64)]
    for t in range(1, len(features)):
        context = context_of(t, m, prefill)
        labels.append(
            step(
                features[t], [features[i] for i in context], [labels[i] for i in context],
                k=k, radius=radius, temperature=temperature, window=window, first_frame=first_frame, topk_over=topk_over,
            )
        )  # fmt: skip
    return labels


def step(
    query: NDArray[np.float32],
    keys: list[NDArray[np.float32]],
    labels: list[NDArray[np.float64]],
    *,
    k: int,
    radius: float,
    temperature: float,
    window: str = "disc",
    first_frame: str = "global",
    topk_over: str = "joint",
) -> NDArray[np.float64]:
    """One frame: `keys[0]` is the pinned first frame, the others are the ring."""
    _, h, w = query.shape
    out = np.zeros((labels[0].shape[0], h, w))
    everywhere = [(v, u) for v in range(h) for u in range(w)]
    for y in range(h):
        for x in range(w):
            near = everywhere if math.isinf(radius) else neighbours(y, x, h, w, radius, window)
            kept: list[tuple[float, NDArray[np.float64]]] = []
            for number, (key, label) in enumerate(zip(keys, labels, strict=True)):
                cells = everywhere if number == 0 and first_frame == "global" else near
                vs, us = np.array([c[0] for c in cells]), np.array([c[1] for c in cells])
                similarity = query[:, y, x].astype(np.float64) @ key[:, vs, us].astype(np.float64)
                order = np.argsort(-similarity, kind="stable")
                kept += [(similarity[i], label[:, vs[i], us[i]]) for i in order[:k]]
            if topk_over == "joint":
                kept = sorted(kept, key=lambda pair: -pair[0])[:k]
            weights = np.exp((np.array([s for s, _ in kept]) - max(s for s, _ in kept)) / temperature)
            weights /= weights.sum()
            for weight, (_, label) in zip(weights, kept, strict=True):
                out[:, y, x] += weight * label
    return out


def resize_linear(maps: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """(K, h, w) -> (K, *size), half-pixel centres, no antialiasing."""
    count, h, w = maps.shape
    out = np.zeros((count, *size))
    for y in range(size[0]):
        for x in range(size[1]):
            v = min(max((y + 0.5) * h / size[0] - 0.5, 0), h - 1)
            u = min(max((x + 0.5) * w / size[1] - 0.5, 0), w - 1)
            v0, u0 = math.floor(v), math.floor(u)
            v1, u1 = min(v0 + 1, h - 1), min(u0 + 1, w - 1)
            top = maps[:, v0, u0] * (1 - (u - u0)) + maps[:, v0, u1] * (u - u0)
            low = maps[:, v1, u0] * (1 - (u - u0)) + maps[:, v1, u1] * (u - u0)
            out[:, y, x] = top * (1 - (v - v0)) + low * (v - v0)
    return out


def one_hot(mask: NDArray[np.uint8], ids: tuple[int, ...]) -> NDArray[np.float64]:
    """(H, W) ids -> (K, H, W); void and ids that are not listed are background."""
    maps = np.zeros((1 + len(ids), *mask.shape))
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            maps[1 + ids.index(mask[y, x]) if mask[y, x] in ids else 0, y, x] = 1
    return maps
