"""Test-time training written straight from appendix H: loops, one file, nothing clever.

It shares with the package the network, the random draws (which square of the frames, which crop of each patch) and nothing
else: the patches, the walk, the updates, the order of things and the propagation are written out here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crwedge.model.encoder import Encoder
from tests.reference import context_of, step

Draw = Callable[[list[NDArray[np.uint8]], int, int], tuple[Tensor, int]]
"""(window, t, update) -> squares (T, 3, S, S) uint8 of the window's frames and a seed for jitter and dropout."""


def plain_ttt(
    frames: list[NDArray[np.uint8]],
    first_soft: NDArray[np.float32],
    encoder: Encoder,
    draw: Draw,
    *,
    m: int,
    every: int,
    updates: int,
    context: int,
    k: int,
    radius: float,
    temperature: float,
) -> tuple[list[NDArray[np.float64]], dict[str, Tensor]]:
    """Soft labels (K, h, w) of every frame, and the weights at the end."""
    encoder = copy.deepcopy(encoder).double().eval()  # eval: the statistics of BatchNorm are frozen
    features: list[NDArray[np.float32]] = []
    labels = [first_soft.astype(np.float64)]
    for t, frame in enumerate(frames):
        if t % every == 0:
            window = frames[max(0, t - m) : t + m + 1]
            adam = torch.optim.Adam(encoder.parameters(), lr=1e-4)
            for update in range(updates):
                squares, seed = draw(window, t, update)
                loss = algorithm_1(encoder, squares, seed)
                adam.zero_grad()
                loss.backward()
                adam.step()
        features.append(copy.deepcopy(encoder).float().features(torch.from_numpy(frame)[None])[0].numpy())
        if t > 0:
            near = context_of(t, context, prefill=True)
            keys, values = [features[i] for i in near], [labels[i] for i in near]
            labels.append(step(features[t], keys, values, k=k, radius=radius, temperature=temperature))
    return labels, encoder.state_dict()


def algorithm_1(encoder: Encoder, squares: Tensor, seed: int, tau: float = 0.07, drop_rate: float = 0.1) -> Tensor:
    """The loss of one clip (T, 3, S, S): patches 64 at stride 32, jitter, walk there and back, return to the start."""
    from kornia.augmentation import RandomResizedCrop

    T, side = squares.shape[0], squares.shape[-1]
    corners = [(x, y) for y in range(0, side - 63, 32) for x in range(0, side - 63, 32)]
    N = len(corners)
    torch.manual_seed(seed)
    jitter = RandomResizedCrop((64, 64), (0.7, 0.9), (0.7, 1.3), p=1.0, cropping_mode="resample")
    boxes = iter(jitter.generate_parameters(torch.Size((T * N, 3, 64, 64)))["src"])
    patches = torch.stack(
        [crop(square.float() / 255, next(boxes) + torch.tensor(c)) for square in squares for c in corners]
    )
    x = (patches - encoder.mean) / encoder.std
    q = functional.normalize(encoder(x).mean(dim=(2, 3)), dim=1).reshape(T, N, -1)
    drop = torch.Generator().manual_seed(seed + 1)

    def walk(here: Tensor, there: Tensor) -> Tensor:
        A = here @ there.T / tau
        cut = torch.rand(N, N, generator=drop) < drop_rate
        cut &= ~cut.all(dim=1, keepdim=True)
        return torch.softmax(A.masked_fill(cut, float("-inf")), dim=1)

    forth, back, losses = [], [], []
    for s in range(1, T):
        forth.append(walk(q[s - 1], q[s]))
        back.append(walk(q[s], q[s - 1]))
        path = torch.eye(N, dtype=q.dtype)
        for step_on in forth:
            path = path @ step_on
        for step_back in reversed(back):
            path = path @ step_back
        losses.append(-torch.log(path.diagonal()).mean())
    return torch.stack(losses).mean()


def crop(square: Tensor, box: Tensor) -> Tensor:
    """The picture (3, S, S) within a box of corner pixels (4, 2), both ends included, resized to 64 x 64."""
    low, high = box[0].float(), box[2].float()
    places = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, 64)
    xs, ys = places * (2 / (square.shape[-1] - 1)) - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
    return functional.grid_sample(square[None], grid, padding_mode="border", align_corners=True)[0]
