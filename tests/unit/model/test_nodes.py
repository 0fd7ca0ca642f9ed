from __future__ import annotations

import pytest
import torch

from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.model.nodes import NodeEncoder, border_cells
from crwedge.model.unpadded import forward_unpadded


def test_patches_and_cells_are_unit_vectors() -> None:
    model = NodeEncoder(EncoderConfig(stage="res4"), 16, 2)
    assert model.patches(torch.rand(3, 3, 32, 32)).shape == (3, 16)
    cells = NodeEncoder(EncoderConfig(), 16, 0).cells(torch.rand(2, 3, 64, 64), crop=1)
    assert cells.shape == (2, 36, 256)
    torch.testing.assert_close(cells.norm(dim=-1), torch.ones(2, 36))


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_without_padding_a_shift_by_a_cell_shifts_the_features(architecture: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(architecture)).eval()  # type: ignore[arg-type]
    x = torch.rand(1, 3, 248, 248)
    with torch.no_grad():
        a = forward_unpadded(encoder, x[:, :, :240, :240])
        b = forward_unpadded(encoder, x[:, :, 8:, :240])
    if architecture == "resnet18":
        assert a.shape[2:] == (10, 10)  # res3 sees 81 pixels to each side of a cell
    torch.testing.assert_close(a[:, :, 1:], b[:, :, :-1], rtol=1e-3, atol=1e-4)


def test_cropped_cells_do_not_see_the_border() -> None:
    torch.manual_seed(0)
    encoder = Encoder().eval()
    x = torch.rand(1, 3, 256, 256)
    crop = border_cells("res3")
    reflected = Encoder(EncoderConfig(padding="reflect")).eval()
    reflected.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        a, b = encoder(x), reflected(x)
    inner = slice(crop, -crop)
    torch.testing.assert_close(a[:, :, inner, inner], b[:, :, inner, inner], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(a[:, :, 0], b[:, :, 0], rtol=1e-2)
