"""The contract from embeddings: every loss against its own ``forward``."""

import pytest
import torch

from lightning_croloss.losses import CROLoss
from tests.losses.cases import BLIND_TO_DRAWS, LOSSES, assert_same, options

N = 40
every_loss = pytest.mark.parametrize("name", LOSSES)


def embeddings(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*size, 3, generator=generator).double().mul(0.4).requires_grad_() for size in sizes]


@pytest.mark.parametrize("shared", [True, False])
@every_loss
def test_from_embeddings_equals_forward(name, shared):
    loss = LOSSES[name](num_items=N)
    users, positives, candidates = embeddings((4,), (4,), (6,) if shared else (4, 6))
    arguments = options()
    mask, log_q = arguments["negative_mask"], arguments["negative_log_prob"]
    ids = torch.where(mask, 5, torch.arange(10, 16))  # item 5 is every row's target
    target_ids = torch.full((4,), 5)
    if shared:
        ids, log_q, mask = ids[0], log_q[0], mask[0]
    embedded = loss.from_embeddings(
        users,
        positives,
        candidates,
        target_ids=target_ids,
        candidate_ids=ids,
        candidate_log_prob=log_q,
        num_sampled=arguments["num_sampled"],
        sample_weight=arguments["sample_weight"],
    )
    rows = candidates.expand(4, 6, 3) if shared else candidates
    plain = loss(
        (users * positives).sum(1),
        (users.unsqueeze(1) * rows).sum(2),
        **arguments | {"negative_mask": mask, "negative_log_prob": log_q},
    )
    inputs = (users, positives, candidates)
    assert_same(
        [embedded, *torch.autograd.grad(embedded, inputs)], [plain, *torch.autograd.grad(plain, inputs)]
    )


@every_loss
def test_without_ids_every_candidate_is_a_negative(name):
    loss = LOSSES[name](num_items=N)
    users, positives, candidates = embeddings((4,), (4,), (6,))
    embedded = loss.from_embeddings(users, positives, candidates)
    torch.testing.assert_close(embedded, loss((users * positives).sum(1), users @ candidates.T))


@pytest.mark.parametrize("shared", [True, False])
@every_loss
def test_hits_and_excluded_count_as_draws_and_padding_does_not(name, shared):
    loss = LOSSES[name](num_items=N)
    users, positives, candidates = embeddings((2,), (2,), (7,))
    ids = torch.tensor([3, 0, 8, 5, 8, 0, 9])
    target_ids, excluded_ids = torch.tensor([5, 1]), torch.tensor([[8, 0], [0, 30]])
    expected_mask = torch.tensor([[0, 1, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 1, 0]]).bool()
    expected = loss(
        (users * positives).sum(1), users @ candidates.T, negative_mask=expected_mask, num_sampled=5
    )
    if not shared:
        ids, candidates = ids.expand(2, 7), candidates.expand(2, 7, 3)
    arguments = {"target_ids": target_ids, "candidate_ids": ids, "excluded_ids": excluded_ids}
    torch.testing.assert_close(loss.from_embeddings(users, positives, candidates, **arguments), expected)
    more = loss.from_embeddings(users, positives, candidates, num_sampled=7, **arguments)
    if name not in BLIND_TO_DRAWS:
        assert not torch.allclose(more, expected, rtol=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_padding_only_have_no_loss(shared):
    loss = CROLoss(num_items=N)
    users, positives, candidates = embeddings((2,), (2,), (3,))
    ids = torch.zeros(3, dtype=torch.long)
    if not shared:
        ids, candidates = torch.stack([ids, torch.arange(1, 4)]), candidates.expand(2, 3, 3)
    loss.from_embeddings(users, positives, candidates, candidate_ids=ids).backward()
    assert (users.grad[0] == 0).all()
    assert (users.grad[1] == 0).all() == shared


@pytest.mark.parametrize("argument", ["target_ids", "excluded_ids"])
def test_ids_to_compare_with_need_candidate_ids(argument):
    with pytest.raises(ValueError, match="candidate_ids"):
        CROLoss().from_embeddings(*embeddings((2,), (2,), (3,)), **{argument: torch.ones(2, 1).long()})
