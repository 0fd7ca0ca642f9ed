"""Many settings at once give what each gives alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crwedge.core.errors import CrwedgeError, SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.eval.studies import PROPAGATION
from crwedge.eval.sweep import shared_key, sweep_features
from crwedge.runtime.propagation.propagator import propagate_features

GRID = (13, 21)
BASE = PropagationSettings(context_length=4, topk=5, radius=5)


def clip(frames: int = 9, channels: int = 24, seed: int = 3) -> list[np.ndarray]:
    """Features that drift slowly, so that neighbours mean something, over more frames than any context here."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(size=(frames, channels, *GRID)) * 0.4, axis=0)
    values = rng.normal(size=(channels, *GRID)) + drift
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return list(values.astype(np.float32))


def first_soft() -> np.ndarray:
    ids = np.zeros(GRID, int)
    ids[3:9, 4:11], ids[5:12, 12:19] = 1, 2
    return np.stack([ids == i for i in range(3)]).astype(np.float32)


def small(settings: PropagationSettings) -> PropagationSettings:
    """A study's point brought to the size of this clip."""
    return replace(settings, context_length=max(1, settings.context_length // 4))


@pytest.mark.parametrize("name", PROPAGATION)
def test_every_study_equals_its_points(name: str) -> None:
    study = PROPAGATION[name]
    points = {label: small(study.settings(label, PropagationSettings())) for label in study.points}
    groups = {shared_key(settings) for settings in points.values()}
    for key in groups:
        together = {label: settings for label, settings in points.items() if shared_key(settings) == key}
        compare(together, workers=1)


def test_settings_that_differ_in_everything_shareable() -> None:
    compare(
        {
            "base": BASE,
            "short": replace(BASE, context_length=1, topk=1),
            "long": replace(BASE, context_length=7, radius=3, temperature=0.2),
            "square": replace(BASE, window="square", radius=4, first_frame="restricted"),
            "each": replace(BASE, topk_over="frame", topk=3),
            "all": replace(BASE, radius=float("inf"), topk=20),
        },
        workers=3,
    )


def test_half_precision_is_shared_too() -> None:
    compare({"a": replace(BASE, storage="float16"), "b": replace(BASE, storage="float16", topk=2)}, workers=1)


def compare(points: dict[str, PropagationSettings], workers: int) -> None:
    features = clip()
    swept = list(sweep_features(features, first_soft(), points, workers))
    assert len(swept) == len(features)
    for label, settings in points.items():
        alone = list(propagate_features(features, first_soft(), settings, workers=1))
        for ours, theirs in zip(swept, alone, strict=True):
            np.testing.assert_allclose(ours[label], theirs, atol=2e-5, err_msg=label)
    if len(points) > 1:
        last = [soft for soft in swept[-1].values()]
        assert any(np.abs(last[0] - other).max() > 1e-3 for other in last[1:]), "the settings change nothing"


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(SettingError, match="prefill"):
        next(sweep_features(clip(), first_soft(), {"a": BASE, "b": replace(BASE, prefill=False)}))
    broken = [np.full((24, *GRID), np.nan, np.float32)]
    with pytest.raises(CrwedgeError, match="not finite"):
        next(sweep_features(broken, first_soft(), {"a": BASE}))
