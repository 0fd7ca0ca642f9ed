"""The encoder without padding (a control of appendix C): no convolution depends on the position of the border.

Each 3 x 3 convolution takes one cell off each side, so shortcuts are cropped to what the main path kept.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from crwedge.model.encoder import BasicBlock, Bottleneck, Encoder


def forward_unpadded(encoder: Encoder, x: Tensor) -> Tensor:
    """Normalised images (N, 3, H, W) -> features of the deepest stage, smaller at each border than with padding."""
    x = F.relu(encoder.bn1(_bare(encoder.conv1, x)))
    x = F.max_pool2d(x, 3, 2)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for block in getattr(encoder, name, ()):
            x = _basic(block, x) if isinstance(block, BasicBlock) else _bottleneck(block, x)
    return x


def _basic(block: BasicBlock, x: Tensor) -> Tensor:
    y = F.relu(block.bn1(_bare(block.conv1, x)))
    y = block.bn2(_bare(block.conv2, y))
    # A stride-2 convolution without padding is centred on the odd cells, hence the crop before the shortcut.
    shortcut = x[:, :, 1:-1, 1:-1]
    shortcut = shortcut if block.downsample is None else block.downsample(shortcut)
    return F.relu(y + shortcut[:, :, 1 : 1 + y.shape[2], 1 : 1 + y.shape[3]])


def _bottleneck(block: Bottleneck, x: Tensor) -> Tensor:
    y = F.relu(block.bn1(block.conv1(x)))
    y = F.relu(block.bn2(_bare(block.conv2, y)))
    y = block.bn3(block.conv3(y))
    shortcut = x[:, :, 1:-1, 1:-1]
    shortcut = shortcut if block.downsample is None else block.downsample(shortcut)
    return F.relu(y + shortcut[:, :, : y.shape[2], : y.shape[3]])


def _bare(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, 0)
