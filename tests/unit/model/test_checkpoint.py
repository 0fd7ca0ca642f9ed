from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from crwedge.core.errors import CheckpointError
from crwedge.model.checkpoint import load_encoder, save_encoder
from crwedge.model.encoder import Encoder, EncoderConfig


def test_round_trip_keeps_weights_and_facts(tmp_path: Path) -> None:
    encoder = Encoder(EncoderConfig(padding="reflect", mean=(0.5, 0.4, 0.3)))
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, name="walk", weights_from="nowhere", trained=True)
    for place in (path, tmp_path):
        again, info = load_encoder(place)
        assert (info.name, info.weights_from, info.trained) == ("walk", "nowhere", True)
        assert again.config == encoder.config
        assert not again.training
        for key, value in encoder.state_dict().items():
            assert torch.equal(value, again.state_dict()[key])


def test_equal_encoders_make_equal_files(tmp_path: Path) -> None:
    encoder = Encoder()
    for name in ("a", "b"):
        save_encoder(tmp_path / name, encoder, name="walk", weights_from="nowhere", trained=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(str(tmp_path / "a"), framework="pt") as file:  # the library reads it as its own
        assert file.metadata()["name"] == "walk"
        assert torch.equal(file.get_tensor("conv1.weight"), encoder.conv1.weight)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    missing, broken, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "c.safetensors"
    broken.write_bytes(b"no safetensors")
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_encoder(missing)
    with pytest.raises(CheckpointError, match="damaged"):
        load_encoder(broken)
    with pytest.raises(CheckpointError, match="crwedge import"):
        load_encoder(other)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    small, large = Encoder(), Encoder(EncoderConfig("resnet50"))
    with pytest.raises(CheckpointError, match="another architecture"):
        small.load_weights(large.state_dict())


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, Encoder(), name="old", weights_from="x", trained=True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_encoder(path, Encoder(), name="new", weights_from="x", trained=True)
    assert load_encoder(path)[1].name == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.safetensors"]
