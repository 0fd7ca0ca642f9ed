"""The contrastive random walk (algorithm 1): affinities, transitions, palindromes and their loss. Pure functions.

A clip of T frames has N nodes a frame. The walk goes 1 -> 2 -> .. -> s and back, and must return to the node it came
from; every s from 2 to T gives one term of the loss. Where two views of frame 1 exist, the walk starts in one and
returns to the other, and s = 1, from one view straight to the other, is a term too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-30  # keeps the logarithm and its slope finite in float32; a walk of several steps is never so unlikely


@dataclass(frozen=True)
class WalkResult:
    """Loss and return accuracy of one batch of walks."""

    loss: Tensor
    """Scalar, float32 or float64: mean over the cycles' losses, plus that of the step between two views of frame 1."""
    losses: dict[int, Tensor]
    """Cross-entropy of each cycle s, detached scalars."""
    accuracy: dict[int, Tensor]
    """Share of the nodes that return to where they should, for each cycle s, detached scalars."""


def affinity(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """Similarities A[i, j] = <q_i, k_j> / temperature.

    Args:
        q: (..., N, d) unit length.
        k: (..., M, d) unit length.
        temperature: tau, above 0.

    Returns:
        (..., N, M) in float32 at least, whatever the inputs are.
    """
    kind = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        return q.to(kind) @ k.to(kind).transpose(-1, -2) / temperature


def transitions(A: Tensor, dropout: float = 0.0, generators: Sequence[torch.Generator] | None = None) -> Tensor:
    """Row softmax of A (B, N, M), where each edge is first cut with probability `dropout`.

    With `generators`, one a clip, what is cut in a clip does not depend on the other clips of the batch. A node whose
    edges would all be cut keeps them all: its row would be no distribution.
    """
    if dropout > 0:
        if generators is None:
            chance = torch.rand(A.shape, device=A.device)
        else:
            chance = torch.stack([torch.rand(A.shape[1:], device=A.device, generator=one) for one in generators])
        cut = chance < dropout
        cut &= ~cut.all(dim=-1, keepdim=True)
        A = A.masked_fill(cut, float("-inf"))
    return A.softmax(dim=-1)


def walk_loss(
    nodes: Tensor,
    temperature: float,
    dropout: float = 0.0,
    *,
    back: Tensor | None = None,
    target: Tensor | None = None,
    seen: Tensor | None = None,
    cross_clip_negatives: bool = False,
    generators: Sequence[torch.Generator] | None = None,
) -> WalkResult:
    """The loss of all palindromes 1 -> .. -> s -> .. -> 1 of a batch of clips.

    Args:
        nodes: (B, T, N, d) embeddings of unit length.
        temperature: tau of the transitions.
        dropout: share of the edges cut, drawn again in each direction.
        back: (B, M, d) embeddings of a second view of frame 1, where the walk returns to; nodes[:, 0] by default.
        target: (B, N, M) rows that sum to 1: where in `back` each node of frame 1 should return to; itself by default.
        seen: (B, N) bool: the nodes of frame 1 that count; all by default.
        cross_clip_negatives: that step may also end, wrongly, in the second views of the batch's other clips.
        generators: one a clip, for the dropout.

    Returns:
        The loss, its parts and the return accuracies. Cycles run over s = 2..T, and s = 1 when `back` is given.
    """
    kind = torch.promote_types(nodes.dtype, torch.float32)
    # Products of probabilities need float32 even where the encoder runs in bfloat16.
    with torch.autocast(nodes.device.type, enabled=False):
        nodes = nodes.to(kind)
        back = None if back is None else back.to(kind)
        steps = nodes.shape[1]
        losses: dict[int, Tensor] = {}
        accuracy: dict[int, Tensor] = {}
        if back is not None:
            losses[1], accuracy[1] = _direct_step(nodes[:, 0], back, temperature, target, seen, cross_clip_negatives)
        home = nodes[:, 0] if back is None else back
        forth: Tensor | None = None
        rear: Tensor | None = None
        for s in range(2, steps + 1):
            here, there = nodes[:, s - 2], nodes[:, s - 1]
            onward = transitions(affinity(here, there, temperature), dropout, generators)
            # The way home ends in the second view of frame 1, so that no node meets its own picture again.
            inward = transitions(affinity(there, home if s == 2 else here, temperature), dropout, generators)
            forth = onward if forth is None else forth @ onward
            rear = inward if rear is None else inward @ rear
            losses[s], accuracy[s] = _return_loss(torch.log(forth @ rear + _TINY), target, seen)
    loss = nodes.new_zeros(())
    if back is not None:
        loss = loss + losses[1]
    cycles = [losses[s] for s in losses if s > 1]
    if cycles:
        loss = loss + torch.stack(cycles).mean()
    return WalkResult(loss, {s: value.detach() for s, value in losses.items()}, accuracy)


def _direct_step(
    q: Tensor, k: Tensor, temperature: float, target: Tensor | None, seen: Tensor | None, cross_clip_negatives: bool
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of one step from nodes q (B, N, d) to nodes k (B, M, d) of another view.

    Taken from the logits: at a low temperature a step can be unlikelier than a probability in float32 can say. Only rows
    that count are multiplied, and the logit of the target is <q, sum of the target's k>, so that the one array of size
    rows x nodes is read by its logsumexp alone. With `cross_clip_negatives` the nodes of all clips are there to choose from.
    """
    clips, count = q.shape[:2]
    if target is None:
        target = torch.eye(count, k.shape[1], dtype=q.dtype, device=q.device).expand(clips, -1, -1)
    target = target.to(q.dtype)
    if seen is None:
        seen = torch.ones(clips, count, dtype=torch.bool, device=q.device)
    clip, node = seen.nonzero(as_tuple=True)
    sizes = seen.sum(dim=1).tolist()
    rows, wanted = q[clip, node] / temperature, (target @ k)[clip, node]
    if cross_clip_negatives:
        logits = rows @ k.flatten(0, 1).T
        mass = logits.logsumexp(dim=-1)
        own = [part.unflatten(-1, (clips, -1))[:, i] for i, part in enumerate(logits.detach().split(sizes))]
    else:
        own = [part @ k[i].T for i, part in enumerate(rows.split(sizes))]
        mass = torch.cat([part.logsumexp(dim=-1) for part in own])
    loss = mass - (rows * wanted).sum(dim=-1)
    with torch.no_grad():
        best = torch.cat([part.argmax(dim=-1) for part in own])
        # A node that belongs between cells may return to any of those around it.
        right = (target[clip, node, best] > 0).to(loss.dtype)
    # Clip by clip: the mean over clips does not depend on how a batch is split over machines.
    weight = 1 / (clips * seen.sum(dim=1).clamp(min=1).to(loss.dtype))[clip]
    return (loss * weight).sum(), (right * weight).sum().float()


def _return_loss(walk: Tensor, target: Tensor | None, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of the logarithms of return probabilities `walk` (B, N, M) against `target`."""
    if target is None:
        loss = -walk.diagonal(dim1=-2, dim2=-1)
        with torch.no_grad():
            right = walk.argmax(dim=-1) == torch.arange(walk.shape[-2], device=walk.device)
    else:
        target = target.to(walk.dtype)
        loss = -(target * walk).sum(dim=-1)
        with torch.no_grad():
            # A node that belongs between cells may return to any of those around it.
            right = target.gather(-1, walk.argmax(dim=-1, keepdim=True)).squeeze(-1) > 0
    if seen is None:
        return loss.mean(), right.float().mean()
    # Clip by clip: the mean over clips does not depend on how a batch is split over machines.
    weight = seen.to(loss.dtype)
    count = weight.sum(dim=-1).clamp(min=1)
    return ((loss * weight).sum(-1) / count).mean(), ((right * weight).sum(-1) / count).float().mean()
