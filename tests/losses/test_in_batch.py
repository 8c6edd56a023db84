"""in_batch: pairs of a batch, each the others' negative."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from lightning_croloss.losses import CROLoss, SoftmaxLoss, base
from lightning_croloss.losses.batches import item_counts
from lightning_croloss.losses.batches.item_counts import ItemCounts
from lightning_croloss.losses.log_prob import log_prob_from_counts
from tests.distributed import run_distributed
from tests.losses.cases import FUSED, LOSSES

B, D, N = 9, 4, 12


def pairs(rows=B, seed=0):
    generator = torch.Generator().manual_seed(seed)
    users, items = 0.3 * torch.randn(2, rows, D, generator=generator, dtype=torch.float64)
    ids = torch.randint(0, N, (rows,), generator=generator)
    ids[:3] = torch.tensor([0, 4, 0])[:rows]  # item 0 is an item, and comes twice
    counts = torch.randint(1, 50, (N,), generator=generator)
    return users.requires_grad_(), items.requires_grad_(), ids, counts


def one_by_one(loss, users, items, ids, log_prob=None, num_items=None):
    """Return the mean of the losses of single rows, each with the list of its true negatives' scores."""
    values = []
    for i in range(len(users)):
        others = [j for j in range(len(users)) if j != i]
        given = {} if log_prob is None else {"negative_log_prob": log_prob[others]}
        values.append(
            loss(
                (users[i] @ items[i])[None],
                (items[others] @ users[i])[None],
                negative_mask=(ids[others] == ids[i])[None],
                **given,
            )
        )
    return torch.stack(values).mean()


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_vectors_of_two_types_are_brought_to_the_wider(monkeypatch, dtype, learned, few):
    monkeypatch.setattr(base, "MOST_PAIRS", 2**22 if few else 0)
    users, items, ids, _ = pairs()
    for one, other in ((users.float(), items.to(dtype)), (users.to(dtype), items.float())):
        loss = CROLoss("exp", learnable_temperature=learned)
        wider = torch.promote_types(one.dtype, other.dtype)
        found = loss.in_batch(one, other, item_ids=ids, symmetric=True)
        expected = loss.in_batch(one.to(wider), other.to(wider), item_ids=ids, symmetric=True)
        assert found.dtype == expected.dtype == wider
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.bfloat16, torch.float64)])
def test_scores_of_two_types_are_brought_to_the_wider(dtypes):
    users, items, _, _ = pairs()
    given = users.sum(1).to(dtypes[0]), (users @ items.T).to(dtypes[1])
    loss = CROLoss("exp")
    for one, other in (given, (given[0].to(dtypes[1]), given[1].to(dtypes[0]))):
        assert loss(one, other) == loss(one.double(), other.double())


def test_counts_are_looked_up_on_a_device_without_reading_from_it():
    counted = ItemCounts().of(torch.tensor([0, 3, 1]), torch.device("meta"))  # where nothing can be read
    assert counted.log_prob_of(torch.tensor([1, 2, 0], device="meta")).shape == (3,)
    assert counted.least == pytest.approx(torch.tensor(0.25).log().item())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_against_one_row_at_a_time(name, fused, counted):
    if fused and name not in FUSED:
        pytest.skip("no fused path for it")
    users, items, ids, counts = pairs()
    loss = LOSSES[name](num_items=N, **({"fused": True} if fused else {}))
    value = loss.in_batch(users, items, item_ids=ids, item_counts=counts if counted else None)
    log_prob = log_prob_from_counts(counts)[ids].double() if counted else None
    expected = one_by_one(loss, users, items, ids, log_prob)
    torch.testing.assert_close(value, expected)
    for found, right in zip(
        *(torch.autograd.grad(v, (users, items)) for v in (value, expected)), strict=True
    ):
        torch.testing.assert_close(found, right)


def test_without_ids_all_items_differ():
    users, items, _, _ = pairs()
    loss = SoftmaxLoss(temperature=1.0)
    expected = functional.cross_entropy(users @ items.T, torch.arange(B))
    torch.testing.assert_close(loss.in_batch(users, items), expected)


def test_symmetric_is_the_mean_of_both_directions():
    users, items, ids, counts = pairs()
    loss = SoftmaxLoss(temperature=1.0)
    scores = users @ items.T
    own = torch.arange(B)
    both = functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)
    torch.testing.assert_close(loss.in_batch(users, items, symmetric=True), both / 2)
    loss = CROLoss("exp", reduction="none")
    forth = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    kept = dict(loss.diagnostics)
    back = loss.in_batch(items, users, item_ids=ids)
    value = loss.in_batch(users, items, item_ids=ids, item_counts=counts, symmetric=True)
    torch.testing.assert_close(value, (forth + back) / 2)
    assert loss.diagnostics == kept


USER_IDS = torch.tensor([7, -3, 0, 7, 5, 0, 7, 9, 11])


def no_pair_is_a_negative(loss, users, items, own, pairs):
    """Return the mean of the losses of single rows (B,) whose (user, item) ids are ``own``."""
    values = []
    for i, (user, _) in enumerate(own):
        others = [j for j in range(len(pairs)) if j != i]
        hits = torch.tensor([[(user, pairs[j][1]) in pairs for j in others]])
        scores = (items[others] @ users[i])[None]
        values.append(loss((users[i] @ items[i])[None], scores, negative_mask=hits))
    return torch.stack(values).mean()


@pytest.mark.parametrize("most", [base.MOST_PAIRS, 1])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("name", ["CROLoss", "SoftmaxLoss", "BPRLoss"])
def test_no_pair_of_the_batch_is_a_negative_either_way(name, with_ids, symmetric, most, monkeypatch):
    monkeypatch.setattr(base, "MOST_PAIRS", most)
    users, items, ids, _ = pairs()
    ids = ids.clone()
    ids[3] = ids[5]  # users 7 and 0 both have an item twice among theirs
    loss = LOSSES[name]()
    item_ids = ids if with_ids else torch.arange(B)
    known = list(zip(USER_IDS.tolist(), item_ids.tolist(), strict=True))
    expected = no_pair_is_a_negative(loss, users, items, known, known)
    if symmetric:
        known = [(item, user) for user, item in known]
        expected = (expected + no_pair_is_a_negative(loss, items, users, known, known)) / 2
    given = {"item_ids": ids} if with_ids else {}
    value = loss.in_batch(users, items, **given, symmetric=symmetric, user_ids=USER_IDS)
    torch.testing.assert_close(value, expected)
    assert value != loss.in_batch(users, items, **given, symmetric=symmetric)
    alone = loss.in_batch(users, items, **given, user_ids=torch.arange(B))  # all users differ
    torch.testing.assert_close(alone, loss.in_batch(users, items, **given))


def test_a_batch_of_one_user_has_no_negatives():
    users, items, _, _ = pairs()
    value = SoftmaxLoss().in_batch(users, items, symmetric=True, user_ids=torch.zeros(B, dtype=torch.long))
    assert value == 0.0


def test_counts_need_no_catalogue_size():
    users, items, ids, counts = pairs()
    counts = torch.cat([counts, torch.zeros(5, dtype=torch.long)])  # ids that never occur
    alone = CROLoss("exp").in_batch(users, items, item_ids=ids, item_counts=counts)
    told = CROLoss("exp", num_items=N).in_batch(users, items, item_ids=ids, item_counts=counts)
    torch.testing.assert_close(alone, told)
    assert not torch.isclose(alone, CROLoss("exp").in_batch(users, items, item_ids=ids))


def test_counts_are_read_again_when_they_change():
    users, items, ids, counts = pairs()
    loss = CROLoss("exp")
    first = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    assert loss.in_batch(users, items, item_ids=ids, item_counts=counts) == first
    counts[4] += 1000
    changed = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    assert changed != first
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other.in_batch(users, items, item_ids=ids, item_counts=counts) == changed


@pytest.mark.parametrize("way", ["numpy", "data", "inference"])
def test_counts_that_change_without_a_word_to_pytorch_are_read_again(way):
    users, items, ids, counts = pairs()
    if way == "inference":
        with torch.inference_mode():
            counts = counts.clone()
    loss = CROLoss("exp")
    first = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    with torch.inference_mode(way == "inference"):
        {"numpy": counts.numpy, "data": lambda: counts.data, "inference": lambda: counts}[way]()[4] += 1000
    changed = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    assert changed != first
    assert changed == CROLoss("exp").in_batch(users, items, item_ids=ids, item_counts=counts)


def test_equal_counts_are_read_once(monkeypatch):
    users, items, ids, counts = pairs()
    loss, read = CROLoss("exp"), []
    monkeypatch.setattr(
        item_counts, "_counted", lambda *of, was=item_counts._counted: read.append(1) or was(*of)
    )
    for given in (counts, counts, counts.clone()):
        loss.in_batch(users, items, item_ids=ids, item_counts=given)
    assert len(read) == 1
    loss.in_batch(users, items, item_ids=ids, item_counts=counts.int())
    assert len(read) == 2


def test_counts_may_be_an_array_or_a_list():
    users, items, ids, counts = pairs()
    loss = CROLoss("exp")
    value = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    for other in (counts.numpy(), counts.tolist()):
        assert loss.in_batch(users, items, item_ids=ids, item_counts=other) == value


def test_ids_may_be_any_integers():
    users, items, ids, _ = pairs()
    loss = CROLoss("exp")
    names = torch.randint(-(2**40), 2**40, (N,))
    names[0] = 0
    torch.testing.assert_close(
        loss.in_batch(users, items, item_ids=names[ids]), loss.in_batch(users, items, item_ids=ids)
    )


def test_a_single_pair_has_no_negative():
    users, items, ids, counts = pairs(1)
    for given in ({}, {"item_ids": ids[:1], "item_counts": counts}):
        assert CROLoss().in_batch(users, items, **given) == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": torch.zeros(B - 1, D)}, r"users and items must be \(B, D\) both"),
        ({"users": torch.zeros(B, 2, D), "items": torch.zeros(B, 2, D)}, "users and items must be"),
        ({"item_ids": torch.zeros(B - 1, dtype=torch.long)}, "item_ids must be"),
        ({"user_ids": torch.zeros(B - 1, dtype=torch.long)}, "user_ids must be"),
        ({"item_ids": None}, "item_counts is indexed by item_ids: give item_ids"),
        ({"item_ids": torch.full((B,), N)}, f"item_counts is indexed by item_ids and has {N} entries, but"),
        ({"item_ids": torch.full((B,), -1)}, "item_ids go from -1 to -1"),
        ({"item_counts": torch.tensor([0] * N)}, "counts"),
        ({"item_counts": torch.tensor([0] + [1] * (N - 1))}, "item_counts is 0 for item 0"),
        ({"sample_weight": torch.ones(B + 1)}, "sample_weight must be"),
    ],
)
def test_mistakes(change, message):
    users, items, ids, counts = pairs()
    given = {"users": users, "items": items, "item_ids": ids, "item_counts": counts} | change
    with pytest.raises(ValueError, match=message):
        CROLoss().in_batch(given.pop("users"), given.pop("items"), **given)


def gathered(rank, world_size, symmetric, name):
    """The loss of one process's part of the batch and, averaged as DDP does, the gradient of all of it."""
    users, items, ids, counts = pairs()
    part = slice(0, 5) if rank == 0 else slice(5, B)
    value = LOSSES[name](num_items=N, reduction="sum").in_batch(
        users[part],
        items[part],
        item_ids=ids[part],
        item_counts=counts,
        symmetric=symmetric,
        gather_across_devices=True,
        user_ids=USER_IDS[part],
    )
    gradients = torch.autograd.grad(value, (users, items))
    for gradient in gradients:
        torch.distributed.all_reduce(gradient)
    return float(value), *gradients


@pytest.mark.parametrize(("symmetric", "name"), [(False, "CROLoss"), (True, "SoftmaxLoss")])
def test_two_processes_are_one_batch(symmetric, name):
    """Of uneven sizes, 5 and 4 rows."""
    first, second = run_distributed(gathered, 2, symmetric, name)
    users, items, ids, counts = pairs()
    loss = LOSSES[name](num_items=N, reduction="sum")
    of_users = {"symmetric": symmetric, "user_ids": USER_IDS}
    value = loss.in_batch(users, items, item_ids=ids, item_counts=counts, **of_users)
    assert first[0] + second[0] == pytest.approx(float(value))
    for found, right in zip(first[1:], torch.autograd.grad(value, (users, items)), strict=True):
        torch.testing.assert_close(found, right)


def test_one_process_gathers_nothing():
    users, items, ids, _ = pairs()
    loss = CROLoss()
    alone = loss.in_batch(users, items, item_ids=ids)
    assert loss.in_batch(users, items, item_ids=ids, gather_across_devices=True) == alone


def test_counts_of_rows_are_refused():
    ids = torch.arange(40) % 13
    counts = torch.arange(1, 14)
    users, items = torch.randn(40, 8), torch.randn(40, 8)
    with pytest.raises(
        ValueError, match=r"item_counts has the same value in all rows of an item; .* all ids"
    ):
        CROLoss().in_batch(users, items, item_ids=ids, item_counts=counts[ids])
    with pytest.raises(ValueError, match=r"has 40 entries, but item_ids go from 4 to 52: .* counts of rows"):
        CROLoss().in_batch(users, items, item_ids=ids * 4 + 4, item_counts=counts[ids])
    CROLoss().in_batch(users, items, item_ids=ids, item_counts=counts)
    as_many = torch.arange(1, 41)  # by accident as many ids as rows
    CROLoss().in_batch(users, items, item_ids=ids, item_counts=as_many)
    CROLoss().in_batch(users, items, item_ids=ids, item_counts=torch.ones(40))


def test_logarithms_are_no_counts():
    counts = torch.arange(14)
    with pytest.raises(ValueError, match=r"not their logarithms"):
        CROLoss().in_batch(
            torch.randn(13, 8),
            torch.randn(13, 8),
            item_ids=torch.arange(1, 14),
            item_counts=log_prob_from_counts(counts),
        )
