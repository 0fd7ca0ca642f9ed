"""Whitening of the features, in part: y = C^(-a / 2) (x - mu), with mean and covariance of x over many cells.

The features of one encoder use few directions: half of the variance lies in about 20 of 256. Cosine similarity is then a
matter of these few. Whitening weighs rare directions more; a = 1 gives all the same variance, a = 0 changes nothing
(H. Jegou and O. Chum, Negative evidences and co-occurences in image retrieval, 2012, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from crwedge.core.errors import SettingError
from crwedge.model.encoder import Encoder

_LEAST_VARIANCE = 1e-3
"""Added to each variance, as a share of the largest: directions with hardly any variance are noise."""


@torch.no_grad()
def whitened(encoder: Encoder, pictures: Iterable[Tensor], exponent: float) -> Encoder:
    """The encoder with whitened features, in evaluation mode.

    Args:
        encoder: an encoder, whitened or not; its own whitening is replaced.
        pictures: normalised images (N, 3, H, W) that mean and covariance are computed on, at the size of real use.
        exponent: a, above 0 and at most 1.

    Raises:
        SettingError: the exponent is outside its range, or the pictures have too few cells.
    """
    if not 0 < exponent <= 1:
        raise SettingError(f"the exponent of whitening is above 0 and at most 1, not {exponent}")
    encoder.eval()
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for picture in pictures:
        x = F.normalize(encoder(picture, stage="res3").double(), dim=1).flatten(2).transpose(1, 2).flatten(0, 1).cpu()
        count, total, products = count + len(x), total + x.sum(dim=0), products + x.T @ x
    if count <= total.numel():
        raise SettingError(f"whitening needs more than {count} cells; give more frames")
    mean = total / count
    variance, directions = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    variance = variance.clamp(min=0) + _LEAST_VARIANCE * variance.max()
    matrix = (directions * variance ** (-exponent / 2)) @ directions.T
    # The scale is free, since the features are divided by their length. This one keeps numbers near 1.
    matrix *= variance.max() ** (exponent / 2)
    result = Encoder(replace(encoder.config, whiten=True)).to(next(encoder.parameters()).device)
    state = {key: value for key, value in encoder.state_dict().items() if not key.startswith("whiten.")}
    own = {"whiten.weight": matrix[:, :, None, None].float(), "whiten.bias": (-matrix @ mean).float()}
    result.load_weights({**state, **own})
    return result.eval()
