"""The encoder of table 4: a ResNet whose last two stages keep the resolution, so that a cell is 8 x 8 pixels.

State dicts use torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, ...), so that weights made elsewhere load as they
are. `layer1` to `layer4` are the paper's res1 to res4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crwedge.core.checked import Checked
from crwedge.core.errors import CheckpointError
from crwedge.core.images import IMAGENET_MEAN, IMAGENET_STD

Architecture = Literal["resnet18", "resnet50"]
Padding = Literal["zeros", "reflect"]
Stage = Literal["res3", "res4"]


@dataclass(frozen=True)
class EncoderConfig(Checked):
    """Configuration of an encoder. It is saved with every checkpoint and bundle."""

    architecture: Architecture = "resnet18"
    padding: Padding = "zeros"
    """Padding of the convolutions: the published code reflects, engines are fast with zeros."""
    stage: Stage = "res3"
    """The deepest stage that is built: res3 is what propagation reads."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of RGB in 0..1, subtracted from the input."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Of RGB in 0..1, the input is divided by it."""
    whiten: bool = False
    """Features pass a fixed linear map that makes their directions more alike in variance (`crwedge.model.whiten`)."""

    @property
    def stride(self) -> int:
        """Pixels along a side of a feature cell."""
        return 8

    @property
    def channels(self) -> int:
        """Channels of the deepest stage."""
        return {"res3": 256, "res4": 512}[self.stage] * _EXPANSION[self.architecture]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


_EXPANSION = {"resnet18": 1, "resnet50": 4}
_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (ResNet-18)."""

    def __init__(self, c_in: int, width: int, stride: int, padding: Padding) -> None:
        """Map `c_in` channels to `width`."""
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, 1, bias=False, padding_mode=padding)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False, padding_mode=padding)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(c_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions and a shortcut (ResNet-50, stride in the 3 x 3)."""

    def __init__(self, c_in: int, width: int, stride: int, padding: Padding) -> None:
        """Map `c_in` channels to 4 x `width`."""
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False, padding_mode=padding)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(c_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, 4 * width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(c_in: int, c_out: int, stride: int) -> nn.Sequential | None:
    if c_in == c_out and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))


class Encoder(nn.Module):
    """Frames to features at 1/8 of the resolution (appendix G, table 4)."""

    mean: Tensor
    std: Tensor
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module
    whiten: nn.Conv2d | None

    def __init__(self, config: EncoderConfig | None = None) -> None:
        """Build with random weights; `config` defaults to ResNet-18 up to res3 with zero padding."""
        super().__init__()
        self.config = config = config or EncoderConfig()
        block = BasicBlock if config.architecture == "resnet18" else Bottleneck
        expansion = _EXPANSION[config.architecture]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False, padding_mode=config.padding)
        self.bn1 = nn.BatchNorm2d(64)
        c_in = 64
        stages = (("layer1", 64, 1), ("layer2", 128, 2), ("layer3", 256, 1), ("layer4", 512, 1))
        for (name, width, stride), blocks in zip(stages, _BLOCKS[config.architecture], strict=True):
            if name == "layer4" and config.stage == "res3":
                break
            layers = []
            for index in range(blocks):
                layers.append(block(c_in, width, stride if index == 0 else 1, config.padding))
                c_in = width * expansion
            self.add_module(name, nn.Sequential(*layers))
        self.whiten = None
        if config.whiten:
            width = 256 * expansion
            self.whiten = nn.Conv2d(width, width, 1).requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, frames: Tensor) -> Tensor:
        """RGB uint8 (N, H, W, 3) -> normalised float32 (N, 3, H, W)."""
        x = frames.permute(0, 3, 1, 2).float().div_(255.0)
        return (x - self.mean) / self.std

    def forward(self, x: Tensor, stage: Stage | None = None) -> Tensor:
        """Normalised images (N, 3, H, W) -> feature map (N, C, ceil(H / 8), ceil(W / 8)), not unit length.

        `stage` stops at res3 even where res4 exists; by default the deepest stage is returned.
        """
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer3(self.layer2(self.layer1(x)))
        if self.config.stage == "res4" and stage != "res3":
            x = self.layer4(x)
        return x

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """RGB uint8 (N, H, W, 3) -> res3 features (N, C, h, w), unit length over C: what propagation reads.

        With `config.whiten`, x becomes W x / |x| + b, divided by its length. The walk trains on x itself.
        """
        x = F.normalize(self(self.normalise(frames), stage="res3"), dim=1)
        return x if self.whiten is None else F.normalize(self.whiten(x), dim=1)

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Load a torchvision-format state dict; deeper stages and the classifier in it are left out.

        Raises:
            CheckpointError: a weight is missing or has another shape: the file is of another architecture.
        """
        own = self.state_dict()
        for key, value in own.items():
            if key.endswith("num_batches_tracked"):
                continue
            if key not in state:
                raise CheckpointError(f"the weights lack {key}: they are not of a {self.config.architecture}")
            if state[key].shape != value.shape:
                raise CheckpointError(
                    f"{key} has shape {tuple(state[key].shape)}, a {self.config.architecture} needs "
                    f"{tuple(value.shape)}: the weights are of another architecture"
                )
        self.load_state_dict({key: state[key] for key in own if key in state}, strict=False)
