"""From pictures to the nodes of a walk: the encoder and the small head that is thrown away after training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.model.unpadded import forward_unpadded

# Pixels to each side of a cell's centre that res3 and res4 of a ResNet-18 can see.
_REACH = {"res3": 81, "res4": 113}


class NodeEncoder(nn.Module):
    """Pictures to unit vectors: one for each picture (patches) or one for each cell of its feature map."""

    def __init__(self, config: EncoderConfig, dim: int, layers: int, *, padded: bool = True) -> None:
        """Build with random weights.

        Args:
            config: of the encoder.
            dim: length of the embedding.
            layers: of the head; 0 leaves the features as they are.
            padded: False runs the convolutions without padding (a control of appendix C).
        """
        super().__init__()
        self.encoder = Encoder(config)
        self.padded = padded
        sizes = [config.channels] * layers + [dim]
        head: list[nn.Module] = []
        for index in range(layers):
            head += [nn.Linear(sizes[index], sizes[index + 1])] + ([nn.ReLU()] if index + 1 < layers else [])
        self.head = nn.Sequential(*head)

    def normalise(self, pictures: Tensor) -> Tensor:
        """RGB float (n, 3, H, W) in 0..1 -> the encoder's input, channels last in memory (twice as fast on a CPU)."""
        x = (pictures - self.encoder.mean) / self.encoder.std
        return x.contiguous(memory_format=torch.channels_last)

    def patches(self, pictures: Tensor) -> Tensor:
        """Patches (n, 3, p, p) in 0..1 -> (n, d): features averaged over space, then the head."""
        return self._embed(self._features(self.normalise(pictures)).mean(dim=(2, 3)))

    def cells(self, pictures: Tensor, crop: int = 0) -> Tensor:
        """Pictures (n, 3, S, S) in 0..1 -> (n, N, d), row by row, without `crop` cells at each border."""
        features = self._features(self.normalise(pictures))
        if crop:
            features = features[:, :, crop:-crop, crop:-crop]
        return self._embed(features.flatten(2).transpose(1, 2))

    def forward(self, pictures: Tensor, patches: bool, crop: int = 0) -> Tensor:
        """`patches` or `cells`, for wrappers that only know how to call."""
        return self.patches(pictures) if patches else self.cells(pictures, crop)

    def _embed(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(x).float() if x.dtype != torch.float64 else self.head(x), dim=-1)

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor = self.encoder(x) if self.padded else forward_unpadded(self.encoder, x)
        return features


def border_cells(stage: str) -> int:
    """Cells at each border of a padded ResNet-18 map that can see the border."""
    return math.ceil(_REACH[stage] / 8)
