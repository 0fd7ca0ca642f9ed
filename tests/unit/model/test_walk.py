from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from crwedge.model.walk import affinity, transitions, walk_loss
from tests.unit.model import reference_walk


def nodes(batch: int, frames: int, count: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(batch, frames, count, dim, generator=generator, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize(("frames", "count", "temperature"), [(2, 5, 0.07), (4, 3, 0.5), (5, 4, 0.1)])
def test_loss_equals_the_loops(frames: int, count: int, temperature: float) -> None:
    x = nodes(2, frames, count, 6)
    expected = sum(reference_walk.loss(clip.tolist(), temperature) for clip in x) / 2
    assert float(walk_loss(x, temperature).loss) == pytest.approx(expected, rel=1e-12)
    assert float(walk_loss(x.float(), temperature).loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("frames", [1, 3])
def test_loss_between_views_equals_the_loops(frames: int) -> None:
    x, back = nodes(1, frames, 4, 5), nodes(1, 1, 6, 5, seed=1)[:, 0]
    target = torch.rand(1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target /= target.sum(-1, keepdim=True)
    seen = torch.tensor([[True, False, True, True]])
    expected = reference_walk.loss_to_views(x[0].tolist(), back[0].tolist(), target[0].tolist(), seen[0].tolist(), 0.2)
    result = walk_loss(x, 0.2, back=back, target=target, seen=seen)
    assert float(result.loss) == pytest.approx(expected, rel=1e-12)
    assert set(result.accuracy) == set(range(1, frames + 1))


def test_loss_among_the_views_of_all_clips_equals_the_loops() -> None:
    x, back = nodes(3, 1, 4, 5), nodes(3, 1, 6, 5, seed=1)[:, 0]
    target = torch.rand(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target /= target.sum(-1, keepdim=True)
    everywhere = back.flatten(0, 1).tolist()
    expected = 0.0
    for clip in range(3):
        # The right answers lie in the clip's own view, the wrong ones in all.
        padded = torch.zeros(4, 18, dtype=torch.float64)
        padded[:, 6 * clip : 6 * clip + 6] = target[clip]
        expected += reference_walk.loss_to_views(x[clip].tolist(), everywhere, padded.tolist(), [True] * 4, 0.2) / 3
    result = walk_loss(x, 0.2, back=back, target=target, cross_clip_negatives=True)
    assert float(result.loss) == pytest.approx(expected, rel=1e-12)


def test_gradient_equals_differences_of_the_loops() -> None:
    x = nodes(1, 3, 4, 3).requires_grad_()
    walk_loss(x, 0.3).loss.backward()
    assert x.grad is not None
    step = 1e-6
    for place in [(0, 0, 0), (0, 2, 1), (1, 1, 2), (2, 3, 0), (1, 0, 1)]:
        moved = []
        for sign in (1, -1):
            shifted = x.detach().clone()
            shifted[(0, *place)] += sign * step
            moved.append(reference_walk.loss(shifted[0].tolist(), 0.3))
        difference = (moved[0] - moved[1]) / (2 * step)
        assert float(x.grad[(0, *place)]) == pytest.approx(difference, rel=1e-5, abs=1e-8)


def test_transitions_equal_the_loops_and_are_distributions() -> None:
    x = nodes(1, 2, 7, 4)
    ours = transitions(affinity(x[:, 0], x[:, 1], 0.07))
    theirs = reference_walk.softmax_rows(reference_walk.affinity(x[0, 0].tolist(), x[0, 1].tolist(), 0.07))
    torch.testing.assert_close(ours[0], torch.tensor(theirs, dtype=torch.float64))
    dropped = transitions(affinity(x[:, 0], x[:, 1], 0.07), 0.5)
    torch.testing.assert_close(dropped.sum(-1), torch.ones(1, 7, dtype=torch.float64))


def test_dropout_cuts_its_share_and_never_a_whole_row() -> None:
    A = torch.zeros(1, 400, 50)
    share = (transitions(A, 0.3, [torch.Generator().manual_seed(0)]) == 0).float().mean()
    assert abs(float(share) - 0.3) < 0.02
    assert torch.isfinite(transitions(torch.zeros(1, 200, 2), 0.95)).all()


def test_dropout_of_a_clip_does_not_depend_on_the_others() -> None:
    x = nodes(3, 3, 6, 4)

    def cut(rows: slice, seeds: list[int]) -> Tensor:
        return walk_loss(x[rows], 0.1, 0.3, generators=[torch.Generator().manual_seed(s) for s in seeds]).loss

    whole = cut(slice(0, 3), [5, 6, 7])
    parts = torch.stack([cut(slice(i, i + 1), [5 + i]) for i in range(3)])
    torch.testing.assert_close(whole, parts.mean())


def test_a_still_clip_of_distinct_nodes_always_returns() -> None:
    x = torch.eye(8)[None, None].expand(1, 4, 8, 8)
    result = walk_loss(x, 0.07)
    assert float(result.loss) < 1e-3
    assert all(float(value) == 1 for value in result.accuracy.values())


def test_bfloat16_embeddings_under_autocast_keep_float32_walks() -> None:
    x = nodes(2, 4, 49, 128).float()
    full = walk_loss(x, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        half = walk_loss(x, 0.07)
    assert half.loss.dtype == torch.float32
    assert torch.equal(full.loss, half.loss)
    rounded = walk_loss(x.bfloat16(), 0.07).loss
    assert float(rounded) == pytest.approx(float(full.loss), rel=5e-3)


@settings(max_examples=60, deadline=None)
@given(
    false_negatives=st.integers(0, 12),
    others=st.integers(1, 12),
    temperature=st.sampled_from([0.03, 0.07, 0.5, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_identical_false_negatives_never_turn_the_positive_around(
    false_negatives: int, others: int, temperature: float, seed: int
) -> None:
    """Appendix A on our loss: minus its gradient by the query has a coefficient of u that stays >= 0.

    A walk of one step from the query to a view whose nodes are the positive u, copies of it, and others. Only u has a
    first coordinate, so that its coefficient can be read from the gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    u = torch.zeros(9, dtype=torch.float64)
    u[0] = 1
    rest = torch.randn(others, 9, generator=generator, dtype=torch.float64)
    rest[:, 0] = 0
    rest = normalize(rest, dim=-1)
    back = torch.cat([u[None].expand(1 + false_negatives, -1), rest])
    q = normalize(torch.randn(9, generator=generator, dtype=torch.float64), dim=0).requires_grad_()
    target = torch.zeros(1, 1, len(back), dtype=torch.float64)
    target[0, 0, 0] = 1
    walk_loss(q.view(1, 1, 1, 9), temperature, back=back[None], target=target).loss.backward()
    assert q.grad is not None
    coefficient = -float(q.grad[0]) * temperature
    Z = float(((back @ q.detach()) / temperature).exp().sum())
    u_share = float((u @ q.detach() / temperature).exp()) / Z
    assert coefficient == pytest.approx(1 - (1 + false_negatives) * u_share, abs=1e-9)
    assert coefficient >= -1e-12
