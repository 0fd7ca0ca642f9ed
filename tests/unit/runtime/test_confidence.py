"""Signs of confidence of many objects at once, beside walks that each object does alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.confidence import SIGNS, object_signs

PROTOCOL = PropagationSettings(topk=3)


def walk(query: NDArray[np.float32], keys: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """The label (h * w,) that one cell (C,) finds among all keys (h * w, C)."""
    similarity = keys.astype(np.float64) @ query
    best = np.argsort(-similarity)[: PROTOCOL.topk]
    weights = np.exp((similarity[best] - similarity[best[0]]) / PROTOCOL.temperature)
    return float((weights * labels[best]).sum() / weights.sum())


@pytest.mark.parametrize("objects", [1, 2, 7])
def test_signs_of_all_objects_are_those_of_each_alone(objects: int) -> None:
    rng = np.random.default_rng(objects)
    h, w, c = 5, 6, 8
    now = rng.normal(size=(c, h, w)).astype(np.float32)
    then = (now.transpose(1, 2, 0) + 0.3 * rng.normal(size=(h, w, c))).astype(np.float32)
    now /= np.linalg.norm(now, axis=0)
    then /= np.linalg.norm(then, axis=2, keepdims=True)
    soft = rng.dirichlet(np.full(objects + 1, 0.2), size=(h, w)).astype(np.float32).transpose(2, 0, 1).copy()
    pinned = rng.dirichlet(np.full(objects + 1, 0.2), size=h * w).astype(np.float32)
    entropy = rng.random(h * w).astype(np.float32)
    if objects > 2:
        soft[3], pinned[:, 5] = 0, 0
    found = object_signs(now, soft, entropy, then, pinned, PROTOCOL)
    cells, labels = now.reshape(c, -1).T, soft.reshape(objects + 1, -1).T
    keys = then.reshape(-1, c)
    for channel in range(1, objects + 1):
        signs = found[channel - 1]
        there, here = np.flatnonzero(pinned.argmax(1) == channel), np.flatnonzero(labels.argmax(1) == channel)
        if not len(there):
            assert signs is None
            continue
        assert signs is not None
        if not len(here):
            assert signs == {"topk_entropy": 1.0, "forward_cycle": 0.0, "backward_cycle": 0.0, "margin": 0.0}
            continue
        ordered = np.sort(labels[here], axis=1)
        expected = (
            entropy[here].mean(),
            np.mean([walk(cells[cell], keys, pinned[:, channel]) for cell in here]),
            np.mean([walk(keys[cell], cells, labels[:, channel]) for cell in there]),
            (ordered[:, -1] - ordered[:, -2]).mean(),
        )
        for name, want in zip(SIGNS, expected, strict=True):
            assert signs[name] == pytest.approx(want, abs=1e-5), name
