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


def dense_step(
    query: NDArray[np.float32],
    keys: list[NDArray[np.float32]],
    labels: list[NDArray[np.float64]],
    *,
    k: int,
    radius: float,
    temperature: float,
    block: int = 400,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`step` with a disc, a global first frame and joint top-k, as dense float64 matrices: slow, but fit for real frames.

    Returns the soft labels (K, h, w) and, for each cell, the gap between the last similarity kept and the best one left out:
    where it is below the rounding of float32, two right answers exist.
    """
    c, h, w = query.shape
    ys, xs = np.divmod(np.arange(h * w), w)
    far = np.sqrt((ys[:, None] - ys) ** 2 + (xs[:, None] - xs) ** 2) >= radius
    q = query.reshape(c, -1).T.astype(np.float64)
    flat_keys = [key.reshape(c, -1).astype(np.float64) for key in keys]
    flat_labels = np.concatenate([label.reshape(label.shape[0], -1) for label in labels], axis=1)
    out, gaps = np.empty((flat_labels.shape[0], h * w)), np.empty(h * w)
    for start in range(0, h * w, block):
        rows = slice(start, start + block)
        parts = []
        for number, key in enumerate(flat_keys):
            similarity = q[rows] @ key
            if number > 0:
                similarity[far[rows]] = -np.inf
            parts.append(similarity)
        affinity = np.concatenate(parts, axis=1)
        order = np.argpartition(-affinity, k, axis=1)[:, : k + 1]
        found = np.take_along_axis(affinity, order, axis=1)
        rank = np.argsort(-found, axis=1)
        order, found = np.take_along_axis(order, rank, axis=1), np.take_along_axis(found, rank, axis=1)
        gaps[rows] = found[:, k - 1] - found[:, k]
        weights = np.exp((found[:, :k] - found[:, :1]) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        out[:, rows] = (flat_labels[:, order[:, :k]] * weights).sum(axis=2)
    return out.reshape(-1, h, w), gaps.reshape(h, w)


def resize_matrix(n_out: int, n_in: int) -> NDArray[np.float64]:
    """(n_out, n_in) matrix of the linear resize in one direction."""
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        position = min(max((i + 0.5) * n_in / n_out - 0.5, 0), n_in - 1)
        low = math.floor(position)
        matrix[i, low] += 1 - (position - low)
        matrix[i, min(low + 1, n_in - 1)] += position - low
    return matrix


def resize_linear_fast(maps: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """`resize_linear` as two matrix products, for whole frames."""
    rows, columns = resize_matrix(size[0], maps.shape[1]), resize_matrix(size[1], maps.shape[2])
    return np.asarray(np.einsum("Yy,kyx,Xx->kYX", rows, maps, columns, optimize=True))


def soft_start(mask: NDArray[np.uint8], ids: tuple[int, ...], grid: tuple[int, int]) -> NDArray[np.float64]:
    """The one-hot mask resized to the grid, (K, h, w)."""
    maps = np.stack([~np.isin(mask, ids), *(mask == i for i in ids)]).astype(np.float64)
    return resize_linear_fast(maps, grid)


def step_in_views(
    query: NDArray[np.float32],
    origin: tuple[int, int],
    keys: list[NDArray[np.float32]],
    origins: list[tuple[int, int]],
    labels: list[NDArray[np.float64]],
    *,
    k: int,
    radius: float,
    temperature: float,
    window: str = "disc",
    first_frame: str = "global",
    topk_over: str = "joint",
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """`step` where each frame covers its own rectangle of the whole frame's cells, from its origin (y, x) on.

    Returns the soft labels (K, h, w), the entropy (h, w) of the weights over its greatest possible value, and their support
    (h, w). A cell that no key is near is background, with entropy 1 and support -inf.
    """
    _, h, w = query.shape
    out, entropy = np.zeros((labels[0].shape[0], h, w)), np.ones((h, w))
    support = np.full((h, w), -np.inf)
    places = k if topk_over == "joint" else k * len(keys)
    for y in range(h):
        for x in range(w):
            kept: list[tuple[float, NDArray[np.float64]]] = []
            for number, (key, corner, label) in enumerate(zip(keys, origins, labels, strict=True)):
                found = []
                for v in range(key.shape[1]):
                    for u in range(key.shape[2]):
                        dy, dx = v + corner[0] - y - origin[0], u + corner[1] - x - origin[1]
                        near = math.hypot(dy, dx) < radius if window == "disc" else max(abs(dy), abs(dx)) <= radius
                        if near or (number == 0 and first_frame == "global"):
                            similarity = float(query[:, y, x].astype(np.float64) @ key[:, v, u].astype(np.float64))
                            found.append((similarity, label[:, v, u]))
                kept += sorted(found, key=lambda pair: -pair[0])[:k]
            if topk_over == "joint":
                kept = sorted(kept, key=lambda pair: -pair[0])[:k]
            if not kept:
                out[0, y, x] = 1
                continue
            weights = np.exp((np.array([s for s, _ in kept]) - max(s for s, _ in kept)) / temperature)
            support[y, x] = max(s for s, _ in kept) + temperature * math.log(weights.sum())
            weights /= weights.sum()
            out[:, y, x] = sum(weight * label for weight, (_, label) in zip(weights, kept, strict=True))
            entropy[y, x] = -sum(weight * math.log(weight) for weight in weights if weight > 0) / math.log(
                max(places, 2)
            )
    return out, entropy, support
