"""Synchronous lookahead is appendix H: the same labels and weights as a plain script, to 1e-5."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crwedge.adapt.settings import TestTimeSettings
from crwedge.adapt.trainer import TestTimeTrainer
from crwedge.adapt.window import draw_batch, loss_config
from crwedge.core.labels import soft_labels
from crwedge.core.scene import render_scene
from crwedge.core.settings import preset
from crwedge.model.checkpoint import load_encoder
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.tracker import Tracker
from crwedge.train.augment import JITTER_SCALE
from tests.unit.adapt.frames import FrameList
from tests.unit.adapt.plain_ttt import plain_ttt


def test_synchronous_lookahead_equals_the_plain_script() -> None:
    torch.set_num_threads(1)
    scene = render_scene(frames=4, height=96, width=128, objects=1, seed=3)
    settings = TestTimeSettings.appendix(
        synchronous=True, m=1, every=3, updates=2, size=96, short_side=96, precision="float64", device="cpu"
    )
    protocol = preset("crw").with_changes(context_length=2, topk=4, radius=4.0)
    encoder = load_encoder(shipped_bundle())[0]
    config = loss_config(settings, encoder.config)

    def draw(window: list[NDArray[np.uint8]], t: int, update: int) -> tuple[Tensor, int]:
        batch = draw_batch(window, settings, config, t, update)
        return batch.views[0], int(batch.seeds[0])

    first, _ = soft_labels(scene.masks[0], (1,), (12, 16))
    plain, weights = plain_ttt(
        list(scene.frames), first, encoder, draw, m=1, every=3, updates=2, context=2, k=4, radius=4.0, temperature=0.07
    )

    trainer = TestTimeTrainer(settings)
    with Tracker.open(shipped_bundle(), "cpu", protocol, adapter=trainer, workers=1) as tracker:
        ours = [
            tracker.step(frame, scene.masks[0] if frame.index == 0 else None).soft
            for frame in trainer.ahead(FrameList(list(scene.frames)))
        ]
    assert trainer.stats.windows == 2
    assert trainer.stats.updates == 4
    assert trainer._tuner is not None
    adapted = trainer._tuner.encoder().state_dict()
    moved = max(float((adapted[k] - v).abs().max()) for k, v in encoder.state_dict().items() if v.is_floating_point())
    assert moved > 2e-4, "nothing was learnt"
    for key, value in weights.items():
        if value.is_floating_point():
            assert float((adapted[key] - value).abs().max()) <= 1e-5, key
    for t, (got, expected) in enumerate(zip(ours, plain, strict=True)):
        assert np.abs(got - expected).max() <= 1e-5, t


def test_the_same_seed_gives_the_same_labels() -> None:
    torch.set_num_threads(1)
    scene = render_scene(frames=6, height=64, width=80, objects=1, seed=3)
    changes: dict[str, Any] = {
        "synchronous": True,
        "m": 1,
        "every": 2,
        "updates": 1,
        "size": 64,
        "clips": 1,
        "device": "cpu",
    }
    protocol = preset("crw").with_changes(context_length=2)

    def run(seed: int) -> list[NDArray[np.float32]]:
        trainer = TestTimeTrainer(mode="causal", seed=seed, **changes)
        with Tracker.open(shipped_bundle(), "cpu", protocol, adapter=trainer, workers=1) as tracker:
            return [tracker.step(f, scene.masks[0] if i == 0 else None).soft for i, f in enumerate(scene.frames)]

    first, again, other = run(0), run(0), run(1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_the_appendix_is_what_it_says() -> None:
    settings = TestTimeSettings.appendix()
    assert (settings.m, settings.every, settings.updates, settings.learning_rate) == (10, 5, 100, 1e-4)
    assert (settings.mode, settings.nodes, settings.clip_length, settings.hold_every) == ("lookahead", "patches", 0, 0)
    assert settings.layers == "all"
    config = loss_config(settings, load_encoder(shipped_bundle())[0].config)
    assert (config.walk.patch_size, config.walk.patch_stride, JITTER_SCALE) == (64, 32, (0.7, 0.9))
    assert (config.walk.temperature, config.walk.edge_dropout, config.views.size) == (0.07, 0.1, 256)
