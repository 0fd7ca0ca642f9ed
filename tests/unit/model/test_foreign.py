from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crwedge.core.errors import CheckpointError, SettingError
from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.model.foreign import import_weights

Weights = dict[str, Tensor]


@functools.cache
def weights(architecture: Any) -> Weights:
    """A state dict with torchvision's keys and shapes."""
    state = dict(Encoder(EncoderConfig(architecture, stage="res4")).state_dict())
    state["fc.weight"] = torch.zeros(1000, EncoderConfig(architecture, stage="res4").channels)
    return state


def prefixed(state: Weights, prefix: str) -> Weights:
    return {prefix + key: value for key, value in state.items() if not key.startswith("fc.")}


def packed(kind: str, state: Weights) -> dict[str, Any]:
    if kind == "torchvision":
        return dict(state)
    if kind == "moco":
        both = prefixed(state, "module.encoder_q.") | prefixed(weights("resnet18"), "module.encoder_k.")
        both["module.encoder_q.fc.0.weight"] = torch.zeros(2048, 2048)
        return {"epoch": 200, "arch": "resnet50", "state_dict": both | {"module.queue": torch.zeros(128, 16)}}
    if kind == "vince":
        return prefixed(state, "feature_extractor.module.model.") | {"embedding.0.weight": torch.zeros(4, 4)}
    return {"model": prefixed(state, "encoder.model.") | {"selfsim_fc.0.weight": torch.zeros(128, 512)}, "epoch": 3}


@pytest.mark.parametrize("kind", ["torchvision", "moco", "vince", "videowalk"])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_every_kind_gives_the_same_encoder(kind: str, architecture: str, tmp_path: Path) -> None:
    state = weights(architecture)
    torch.save(packed(kind, state), tmp_path / "weights.pth")
    encoder, origin = import_weights(tmp_path / "weights.pth", kind)
    assert encoder.config.architecture == architecture
    assert encoder.config.padding == ("reflect" if kind == "videowalk" else "zeros")
    assert "weights.pth" in origin
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 64, 40), stage="res3").shape[2:] == (8, 5)


def test_another_kind_is_named(tmp_path: Path) -> None:
    torch.save(packed("moco", weights("resnet18")), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not a vince file"):
        import_weights(tmp_path / "w.pth", "vince")
    with pytest.raises(SettingError, match="kind is 'dino'"):
        import_weights(tmp_path / "w.pth", "dino")


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": weights("resnet18"), "args": Path("x")}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="can run code"):
        import_weights(tmp_path / "w.pth", "torchvision")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all"])
def test_what_is_no_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        import_weights(tmp_path / "w.pth", "torchvision")
    assert "\n" not in caught.value.args[0]


def test_other_depths_are_refused(tmp_path: Path) -> None:
    state = dict(weights("resnet18"))
    state["layer3.5.conv1.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not a ResNet-18 or ResNet-50"):
        import_weights(tmp_path / "w.pth", "torchvision")
