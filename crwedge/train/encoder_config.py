"""Settings of the network that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.images import IMAGENET_MEAN, IMAGENET_STD
from crwedge.model.encoder import EncoderConfig


@described
@dataclass(frozen=True)
class TrainedEncoderConfig(Checked):
    """The encoder, and the head that is used in training only."""

    table: ClassVar[str] = "encoder"

    architecture: Literal["resnet18", "resnet50"] = "resnet18"
    """As in table 4."""
    padding: Literal["zeros", "reflect", "none"] = "zeros"
    """`none` is a control of appendix C: convolutions without padding during training."""
    stage: Literal["res3", "res4"] = "res4"
    """The stage that is trained; propagation reads res3."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of RGB in 0..1, subtracted from the input."""
    std: tuple[float, float, float] = bounded(IMAGENET_STD, above=0)
    """Of RGB in 0..1, the input is divided by it."""
    dim: int = bounded(128, min=1)
    """d: length of the embedding, where there is a head."""
    head: int = bounded(1, min=0)
    """Layers of the head between features and embedding; 0: the features are the embedding."""
    start_from: str = ""
    """An encoder checkpoint to begin with, in place of random weights."""

    @property
    def exported(self) -> EncoderConfig:
        """Configuration of the encoder that is written."""
        padding: Literal["zeros", "reflect"] = "zeros" if self.padding == "none" else self.padding
        return EncoderConfig(self.architecture, padding, self.stage, self.mean, self.std)
