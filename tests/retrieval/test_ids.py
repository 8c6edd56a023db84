"""Ids from 0, with or without padding, give what ids from 1 give; what looks like a mistake is told."""

import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.retrieval import diverse_items, target_ranks, top_items

PADDINGS = [None, -1, -100, "behind the items"]


def random_case(seed, num_users=6, num_items=15):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(num_users, 2, 4, generator=generator)
    items = torch.randn(num_items, 4, generator=generator)
    targets = torch.randint(0, num_items + 1, (num_users, 3), generator=generator)
    excluded = torch.randint(0, num_items + 1, (num_users, 4), generator=generator)
    return users, items, targets, excluded


def from_0(ids, padding_id):
    """Return ids from 1, padded with 0, as somebody has them whose ids count from 0."""
    return torch.where(ids == 0, 0 if padding_id is None else padding_id, ids - 1)


def of(padding_id, items):
    return len(items) if padding_id == "behind the items" else padding_id


@given(st.integers(0, 10**6), st.sampled_from(PADDINGS), st.booleans())
@settings(max_examples=60)
def test_ranks_of_ids_from_0_are_those_of_ids_from_1(seed, padding_id, excludes):
    users, items, targets, excluded = random_case(seed)
    padding_id = of(padding_id, items)
    if padding_id is None:
        targets, excluded = targets.clamp(min=1), excluded.clamp(min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = target_ranks(users, items, targets, excluded=excluded if excludes else None)
    found = target_ranks(
        users,
        items,
        from_0(targets, padding_id),
        excluded=from_0(excluded, padding_id) if excludes else None,
        padding_id=padding_id,
    )
    assert torch.equal(found, expected)


@given(st.integers(0, 10**6), st.sampled_from(PADDINGS), st.integers(1, 15))
@settings(max_examples=60)
def test_top_items_of_ids_from_0_are_those_of_ids_from_1(seed, padding_id, n):
    users, items, _, excluded = random_case(seed)
    padding_id = of(padding_id, items)
    if padding_id is None:
        excluded = excluded.clamp(min=1)
    ids, scores = top_items(users, items, n, excluded=excluded)
    found = top_items(users, items, n, excluded=from_0(excluded, padding_id), padding_id=padding_id)
    assert torch.equal(found[0], from_0(ids, -1 if padding_id is None else padding_id))
    assert torch.equal(found[1], scores)


@given(st.integers(0, 10**6), st.sampled_from(PADDINGS), st.integers(1, 12))
@settings(max_examples=40)
def test_diverse_items_take_what_top_items_give(seed, padding_id, n):
    users, items, _, excluded = random_case(seed)
    padding_id = of(padding_id, items)
    excluded = excluded.clamp(min=1)
    categories = torch.randint(0, 4, (len(items) + 1, 2), generator=torch.Generator().manual_seed(seed))
    categories[0] = 0
    candidates = top_items(users, items, 14, excluded=excluded)
    ids, scores = diverse_items(*candidates, categories, n, 0.5)
    given_ids = top_items(users, items, 14, excluded=excluded - 1, padding_id=padding_id)
    found = diverse_items(*given_ids, categories[1:], n, 0.5, padding_id=padding_id)
    assert torch.equal(found[0], from_0(ids, -1 if padding_id is None else padding_id))
    assert torch.equal(found[1], scores)


def test_row_i_is_item_i_by_hand():
    users, items = torch.ones(1, 1, 1), torch.tensor([[3.0], [1.0], [2.0]])
    ranks = target_ranks(users, items, torch.tensor([[0, 1, 2]]), padding_id=None)
    assert ranks.tolist() == [[1, 3, 2]]
    assert top_items(users, items, 3, padding_id=None)[0].tolist() == [[0, 2, 1]]
    assert top_items(users, items, 3, excluded=torch.tensor([[0]]), padding_id=None)[0].tolist() == [
        [2, 1, -1]
    ]
    padded = target_ranks(users, items, torch.tensor([[2, -1, 0]]), padding_id=-1)
    assert padded.tolist() == [[2, 0, 1]]


CALLS = {
    "targets": lambda ids, **kwargs: target_ranks(torch.ones(1, 1, 2), torch.eye(2), ids, **kwargs),
    "excluded": lambda ids, **kwargs: top_items(torch.ones(1, 1, 2), torch.eye(2), 1, excluded=ids, **kwargs),
    "ids": lambda ids, **kwargs: diverse_items(
        ids,
        ids.float(),
        torch.zeros(3 if kwargs.get("padding_id", 0) == 0 else 2, 1).long(),
        1,
        0.1,
        **kwargs,
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("entry", "padding_id", "message"),
    [
        (3, 0, "{} must hold item ids in 0 … 2, the number of items (0 = padding), got 3: map the items"),
        (
            -1,
            0,
            "{} must hold item ids in 0 … 2, the number of items (0 = padding), got -1: if ids count from 0",
        ),
        (
            2,
            None,
            "in 0 … 1, 2 items counted from 0 (padding_id=None), got 2: if ids count from 1 and 0 is padd",
        ),
        (
            7,
            -1,
            "{} must hold item ids in 0 … 1, 2 items counted from 0 (padding_id=-1), got 7: map the items",
        ),
        (-2, -1, "got -2: if ids count from 0 and -2 is padding, pass padding_id=-2"),
        (-2, None, "got -2: if ids count from 0 and -2 is padding, pass padding_id=-2"),
        (2**63 - 1, None, "got 9223372036854775807: map the items"),
    ],
)
def test_ids_of_no_item_are_told(call, entry, padding_id, message):
    with pytest.raises(ValueError, match=re.escape(message.format(call))) as caught:
        CALLS[call](torch.tensor([[1, entry]]), padding_id=padding_id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_padding_must_not_be_an_item(call):
    with pytest.raises(ValueError, match="padding_id=1 is the id of an item, since ids count from 0 unless"):
        CALLS[call](torch.tensor([[0, 0]]), padding_id=1)
    for padding_id in (1.0, "0", True):
        with pytest.raises(TypeError, match="padding_id must be an integer or None, got"):
            CALLS[call](torch.tensor([[0, 0]]), padding_id=padding_id)


def messages_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(entry.message) for entry in caught]


USERS, ITEMS = torch.ones(2, 1, 3), torch.eye(3)


@pytest.mark.parametrize(
    ("targets", "where"),
    [
        ([[0], [2]], "as the only target of a user, who then does not count"),
        ([[0], [0]], "as the only target of a user"),
        ([[1, 0, 2], [1, 2, 0]], "between other targets, where it does not count"),
    ],
)
def test_ids_from_0_are_warned_of(targets, where):
    (message,) = messages_of(lambda: target_ranks(USERS, ITEMS, torch.tensor(targets)))
    assert message.startswith("targets hold the id 0, which is padding, " + where)
    assert message.endswith("if ids count from 0, pass padding_id=None, and row i of item_matrix is item i")
    assert messages_of(lambda: target_ranks(USERS, ITEMS, torch.tensor(targets), padding_id=None)) == []


@pytest.mark.parametrize(
    "targets",
    [
        [[1], [2]],
        [[1, 0], [2, 1]],
        [[0, 1], [2, 1]],
        [[0, 0], [2, 1]],
        [[1, 0, 3], [1, 2, 0]],
        [[0], [3]],
        [[], []],
    ],
)
def test_padding_and_ids_from_1_are_not_warned_of(targets):
    assert messages_of(lambda: target_ranks(USERS, ITEMS, torch.tensor(targets).long())) == []


def test_the_row_of_an_embeddings_padding_is_warned_of():
    table = torch.nn.Embedding(4, 3, padding_idx=0).weight.detach()
    for call in (
        lambda items, **kwargs: target_ranks(USERS, items, torch.tensor([[1], [2]]), **kwargs),
        lambda items, **kwargs: top_items(USERS, items, 2, **kwargs),
    ):
        (message,) = messages_of(lambda call=call: call(table))
        assert message.startswith("the first row of item_matrix alone is 0, as an embedding's row of padding")
        assert messages_of(lambda call=call: call(table[1:])) == []
        assert messages_of(lambda call=call: call(torch.zeros(4, 3))) == []  # not this row alone
        assert messages_of(lambda call=call: call(table, padding_id=None)) == []


@pytest.mark.parametrize("call", ["targets", "excluded"])
def test_ids_of_another_form_are_told(call):
    with pytest.raises(TypeError, match=rf"{call} must be a tensor of item ids, \(B, X\), got list"):
        CALLS[call]([[1]], padding_id=0)
    with pytest.raises(ValueError, match=rf"got \(1,\): a single id for each user is {call}.unsqueeze\(1\)"):
        CALLS[call](torch.tensor([1]), padding_id=0)
    with pytest.raises(ValueError, match=r"one row for each user, got \(2, 1\): pad shorter rows with -1"):
        CALLS[call](torch.tensor([[1], [1]]), padding_id=None)
