"""One window: what moves, what does not, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from crwedge.adapt.finetune import FineTuner
from crwedge.adapt.settings import TestTimeSettings
from crwedge.core.scene import render_scene
from crwedge.model.checkpoint import load_encoder
from crwedge.model.encoder import Encoder
from crwedge.runtime.bundle_lookup import shipped_bundle

FRAMES = list(render_scene(frames=6, height=48, width=64, objects=1, seed=5).frames)
TINY = TestTimeSettings(updates=2, size=32, clips=1, device="cpu", synchronous=True, tolerance=10.0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(shipped_bundle())[0]


def changed(encoder: Encoder, tuner: FineTuner) -> set[str]:
    before, after = encoder.state_dict(), tuner.encoder().state_dict()
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


def test_all_layers_move_and_statistics_stay(encoder: Encoder) -> None:
    tuner = FineTuner(encoder, TINY.with_changes(layers="all"))
    outcome = tuner.run(FRAMES, 5)
    assert (outcome.updates, outcome.undone) == (2, "")
    moved = changed(encoder, tuner)
    assert "conv1.weight" in moved
    assert "layer3.1.conv2.weight" in moved
    assert not any("running" in key for key in moved)


def test_the_last_layers_alone(encoder: Encoder) -> None:
    assert TINY.layers == "last"
    tuner = FineTuner(encoder, TINY)
    tuner.run(FRAMES, 5)
    assert {key.split(".")[0] for key in changed(encoder, tuner)} == {"layer3"}


def test_statistics_move_when_batchnorm_adapts(encoder: Encoder) -> None:
    tuner = FineTuner(encoder, TINY.with_changes(batchnorm="adapt", layers="last"))
    tuner.run(FRAMES, 5)
    assert "bn1.running_mean" in changed(encoder, tuner)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"explode": 1e-6}, "the loss went from"),
        ({"layers": "all", "learning_rate": 10.0, "tolerance": 0.0}, "went from"),
    ],
)
def test_what_went_wrong_is_undone(encoder: Encoder, changes: dict[str, float | str], reason: str) -> None:
    tuner = FineTuner(encoder, TINY.with_changes(**changes))
    assert reason in tuner.run(FRAMES, 5).undone
    assert not changed(encoder, tuner)


def test_weights_that_are_not_finite_are_undone(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = FineTuner(encoder, TINY)
    adam = torch.optim.Adam.step

    def poisoned(self: torch.optim.Adam, closure: None = None) -> Tensor | None:
        adam(self, closure)
        for parameter in self.param_groups[0]["params"]:
            parameter.data.fill_(float("nan"))
        return None

    monkeypatch.setattr(torch.optim.Adam, "step", poisoned)
    assert "nan" in tuner.run(FRAMES, 5).undone
    assert not changed(encoder, tuner)


def test_restart_forgets_the_window_before(encoder: Encoder) -> None:
    kept, anew = (FineTuner(encoder, TINY.with_changes(restart=restart, updates=1)) for restart in (False, True))
    fresh = FineTuner(encoder, TINY.with_changes(updates=1))
    for tuner in (kept, anew):
        tuner.run(FRAMES[:3], 0)
        tuner.run(FRAMES, 5)
    fresh.run(FRAMES, 5)
    key = "layer3.1.conv2.weight"
    assert torch.equal(anew.encoder().state_dict()[key], fresh.encoder().state_dict()[key])
    assert not torch.equal(kept.encoder().state_dict()[key], fresh.encoder().state_dict()[key])


def test_a_budget_ends_a_window_early(encoder: Encoder) -> None:
    outcome = FineTuner(encoder, TINY.with_changes(budget_ms=1, updates=50)).run(FRAMES, 5)
    assert outcome.updates == 1


def test_the_callers_random_numbers_are_left_alone(encoder: Encoder) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    FineTuner(encoder, TINY.with_changes(updates=1, nodes="patches", size=96, short_side=48)).run(FRAMES, 5)
    assert torch.equal(torch.rand(3), expected)


def test_two_still_frames_are_enough(encoder: Encoder) -> None:
    still = [np.full((48, 64, 3), 90, np.uint8)] * 2
    outcome = FineTuner(encoder, TINY).run(still, 1)
    assert np.isfinite(outcome.loss)
