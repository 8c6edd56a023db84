"""Positions (B, L) and several positives (B, P), against one row at a time."""

import pytest
import torch

from croloss_serving.common import blocks
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses import CROLoss, SoftmaxLoss
from lightning_croloss.losses.batches import rows
from tests.losses.cases import FUSED, LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:n=")

B, L, M, D, N = 3, 4, 7, 5, 20


def made(seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return (0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()

    ids = torch.randint(1, N + 1, (B, L), generator=generator)
    ids[0, :2], ids[2] = 0, 0  # padded on the left; one user without any position
    return normal, ids, torch.randint(0, N + 1, (M,), generator=generator)


def one_by_one(loss, users, positives, candidates, ids, candidate_ids, row_weight, excluded=None):
    """Return the weighted sum of the losses of real rows and their weights; row i of B, position j of L."""
    total, weights = torch.zeros((), dtype=torch.float64), 0.0
    for i in range(B):
        real = [j for j in range(ids.shape[1]) if ids[i, j] != 0]
        for j in real:
            negatives = candidates if candidates.dim() == 2 else candidates[i]
            negative_ids = candidate_ids if candidate_ids.dim() == 1 else candidate_ids[i]
            barred = {int(ids[i, j])} | ({int(k) for k in excluded[i]} if excluded is not None else set())
            user = users[i] if users.dim() == 2 else users[i, j]
            value = loss(
                (user @ positives[i, j])[None],
                (negatives @ user)[None],
                negative_mask=torch.tensor([[int(k) in barred or int(k) == 0 for k in negative_ids]]),
                num_sampled=int((negative_ids != 0).sum()),
            )
            weight = float(row_weight[i, j]) if users.dim() == 3 else float(row_weight[i]) / len(real)
            total, weights = total + weight * value, weights + weight
    return total, weights


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("own_candidates", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_against_one_row_at_a_time(name, fused, own_candidates, several):
    if fused and (own_candidates or name not in FUSED):
        pytest.skip("no fused path for it")
    normal, ids, candidate_ids = made()
    inputs = (
        normal(B, D) if several else normal(B, L, D),
        normal(B, L, D),
        normal(B, M, D) if own_candidates else normal(M, D),
    )
    candidate_ids = candidate_ids.expand(B, M) if own_candidates else candidate_ids
    weight = torch.rand(B, dtype=torch.float64) if several else torch.rand(B, L, dtype=torch.float64)
    loss = LOSSES[name](num_items=N, **({"fused": True} if fused else {}))
    value = loss.from_embeddings(*inputs, target_ids=ids, candidate_ids=candidate_ids, sample_weight=weight)
    total, weights = one_by_one(loss, *inputs, ids, candidate_ids, weight, ids if several else None)
    torch.testing.assert_close(value, total / weights)
    found, expected = (torch.autograd.grad(result, inputs) for result in (value, total / weights))
    for gradient, right in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_what_each_position_or_positive_excludes(several, fused):
    normal, ids, candidate_ids = made()
    users, positives, candidates = normal(B, D) if several else normal(B, L, D), normal(B, L, D), normal(M, D)
    excluded = candidate_ids[torch.randint(0, M, (B, L, 2), generator=torch.Generator().manual_seed(3))]
    loss = CROLoss("exp", num_items=N, fused=fused, reduction="none")
    for target_ids in (None, ids) if not several else (ids,):
        found = loss.from_embeddings(
            users,
            positives,
            candidates,
            target_ids=target_ids,
            candidate_ids=candidate_ids,
            excluded_ids=excluded,
        )
        expected = torch.zeros(B, L, dtype=found.dtype)
        for row, place in ((row, place) for row in range(B) for place in range(L)):
            if target_ids is not None and not ids[row, place]:
                continue
            own = excluded[row, place].tolist()
            if target_ids is not None:
                own += ids[row].tolist() if several else [int(ids[row, place])]
            user = users[row] if several else users[row, place]
            expected[row, place] = loss(
                (user @ positives[row, place])[None],
                (candidates @ user)[None],
                negative_mask=torch.isin(candidate_ids, torch.tensor([0, *own]))[None],
                num_sampled=int((candidate_ids != 0).sum()),
            )
        if several:
            expected = expected.sum(1) / (ids != 0).sum(1).clamp(min=1)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_excluded_lists_are_never_padded(several, fused, monkeypatch):
    """One user with a long history would cost every row its length."""
    normal, ids, candidate_ids = made()
    users, positives, candidates = normal(B, D) if several else normal(B, L, D), normal(B, L, D), normal(M, D)
    excluded = torch.zeros(B, 50, dtype=torch.long)
    excluded[0, :2], excluded[1] = candidate_ids[:2], N
    excluded[2, 0] = candidate_ids[4]
    given = {"target_ids": ids, "candidate_ids": candidate_ids}
    loss = CROLoss("exp", num_items=N, fused=fused, reduction="none")
    expected = loss.from_embeddings(users, positives, candidates, excluded_ids=excluded, **given)
    lists = ItemLists.of_padded(excluded)
    lists = ItemLists(
        torch.cat([lists.values, lists.values]), torch.cat([lists.offsets, lists.offsets[1:] + 53])
    )
    monkeypatch.setattr(blocks, "MOST_ENTRIES", 10)
    monkeypatch.setattr(ItemLists, "padded", lambda *_: pytest.fail("all rows as long as the longest"))
    monkeypatch.setattr(ItemLists, "compact", lambda lists, **_: lists)
    found = loss.from_embeddings(
        users, positives, candidates, excluded_ids=lists[torch.tensor([3, 1, 5])], **given
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_shares_of_a_row_are_as_exact_as_its_scores(several, fused, monkeypatch):
    normal, ids, candidate_ids = made()
    ids = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]])
    users, positives, candidates = normal(B, D) if several else normal(B, L, D), normal(B, L, D), normal(M, D)
    loss = CROLoss(num_items=3 * N, fused=fused)
    given = {"target_ids": ids, "candidate_ids": candidate_ids + N}
    real = ids != 0
    each = CROLoss(num_items=3 * N, fused=fused, reduction="none").from_embeddings(
        (users.unsqueeze(1).expand(B, L, D) if several else users)[real],
        positives[real],
        candidates,
        candidate_ids=candidate_ids + N,
    )
    weight = 1.0 / real.double().sum(1, keepdim=True).expand(B, L) if several else real.double()
    expected = (each * weight[real]).sum() / weight[real].sum()
    for on_device in (False, True):
        if on_device:  # where all pairs stay, and padding weighs nothing
            monkeypatch.setattr(rows, "is_transformed", lambda _: True)
        found = loss.from_embeddings(users, positives, candidates, **given)
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("fused", [False, True])
def test_the_losses_come_back_in_the_callers_shape(fused):
    normal, ids, candidate_ids = made()
    given = {"target_ids": ids, "candidate_ids": candidate_ids}
    loss = CROLoss(num_items=N, fused=fused, reduction="none")
    by_position = loss.from_embeddings(normal(B, L, D), normal(B, L, D), normal(M, D), **given)
    assert by_position.shape == (B, L)
    assert torch.equal(by_position != 0, ids != 0)
    by_user = loss.from_embeddings(normal(B, D), normal(B, L, D), normal(M, D), **given)
    assert by_user.shape == (B,)
    assert (by_user != 0).tolist() == [True, True, False]


def test_every_positive_is_compared_with_the_negatives_alone():
    """Catalogue items 1 … N: the row's other positives are not among the negatives."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(N, D, generator=generator, dtype=torch.float64)
    user = torch.randn(1, D, generator=generator, dtype=torch.float64)
    ids = torch.tensor([[3, 8, 0]])
    loss = SoftmaxLoss(temperature=1.0)
    positives = table[(ids - 1).clamp(min=0)]
    value = loss.from_embeddings(user, positives, table, target_ids=ids, candidate_ids=torch.arange(1, N + 1))
    logits = (user @ table.T)[0]
    others = torch.tensor([k for k in range(N) if k not in (2, 7)])
    expected = [
        torch.nn.functional.cross_entropy(torch.cat([logits[[k]], logits[others]])[None], torch.tensor([0]))
        for k in (2, 7)
    ]
    torch.testing.assert_close(value, torch.stack(expected).mean())


def test_positions_of_scores():
    normal, ids, _ = made()
    positive, negative = normal(B, L), normal(B, L, M)
    real = (ids != 0).double()
    loss = CROLoss(num_items=N)
    value = loss(positive, negative, sample_weight=real)
    kept = real.bool()
    torch.testing.assert_close(value, loss(positive[kept], negative[kept]))
    rows = CROLoss(num_items=N, reduction="none")(positive, negative)
    torch.testing.assert_close(rows[1, 2], loss(positive[1, 2:3], negative[1, 2:3]))
    with pytest.raises(ValueError, match="must have the same positions"):
        loss(positive[:, :2], negative)


def test_excluded_items_and_draws_of_positions():
    normal, ids, candidate_ids = made()
    users, positives, candidates = normal(B, L, D), normal(B, L, D), normal(M, D)
    excluded = torch.randint(0, N + 1, (B, 6), generator=torch.Generator().manual_seed(2))
    weight = torch.ones(B, L)
    loss = CROLoss(num_items=N)
    value = loss.from_embeddings(
        users, positives, candidates, target_ids=ids, candidate_ids=candidate_ids, excluded_ids=excluded
    )
    total, weights = one_by_one(loss, users, positives, candidates, ids, candidate_ids, weight, excluded)
    torch.testing.assert_close(value, total / weights)
    each = excluded[:, None].expand(B, L, 6)
    again = loss.from_embeddings(
        users, positives, candidates, target_ids=ids, candidate_ids=candidate_ids, excluded_ids=each
    )
    torch.testing.assert_close(value, again)


@pytest.mark.parametrize(
    ("users", "positives", "message"),
    [
        ((B, L, D), (B, D), "users and positives must be"),
        ((B, L, D), (B, L + 1, D), "users and positives must be"),
        ((B, D), (B + 1, L, D), "users and positives must be"),
        ((B, D), (B, L, D + 1), "users and positives must be"),
        ((B, L, D), (B, L, D), "target_ids must be"),
    ],
)
def test_shapes_that_do_not_fit(users, positives, message):
    with pytest.raises(ValueError, match=message):
        CROLoss().from_embeddings(
            torch.randn(users),
            torch.randn(positives),
            torch.randn(M, D),
            target_ids=torch.ones(B, L + 2, dtype=torch.long),
            candidate_ids=torch.arange(M),
        )
