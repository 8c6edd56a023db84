"""Positives that rank anchors, some of which recur, against a loop over the pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.integrations.ranked_anchors import Anchors, loss_of_anchors
from lightning_croloss.losses import RetrievalLoss

LOSSES = [
    lambda **given: SoftmaxLoss(temperature=0.1, **given),
    lambda **given: CROLoss(alpha=1.2, temperature=0.2, positive_scale=0.8, **given),
]


def vectors(ids: list[int]) -> Tensor:
    table = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    return normalize(table[torch.tensor(ids)], dim=-1)


def anchors(queries: list[int], documents: list[int]) -> Anchors:
    return Anchors(vectors(queries), torch.tensor(queries), torch.tensor(documents))


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "croloss"])
@pytest.mark.parametrize(
    ("queries", "documents"),
    [
        ([1, 2, 3, 4], [11, 12, 13, 14]),
        ([1, 1, 2, 3], [11, 12, 13, 14]),  # a query with two documents
        ([1, 2, 3, 4], [11, 11, 13, 14]),  # a document of two queries
        ([1, 1, 2, 2, 5], [11, 12, 11, 13, 12]),
        ([1, 1, 1], [11, 11, 12]),
        ([1, 1, 2, 3], [11, 12, 11, 13]),  # so that two queries know one document, and one of them another
    ],
)
def test_no_anchor_is_a_negative_of_its_positives(
    loss: Callable[..., RetrievalLoss], queries: list[int], documents: list[int]
) -> None:
    rows = anchors(queries, documents)
    scores = vectors(documents) @ rows.vectors.T
    pairs = list(zip(queries, documents, strict=True))
    hits = torch.tensor([[(anchor, positive) in pairs for anchor in queries] for positive in documents])
    expected = loss()(scores.diagonal(), scores, negative_mask=hits, num_sampled=len(queries) - 1)
    found = loss_of_anchors(loss(num_items=900), vectors(documents), rows, rows)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "croloss"])
@pytest.mark.parametrize("queries", [[1, 2, 3, 4], [1, 1, 3, 4]])
def test_both_ways_are_those_of_in_batch(loss: Callable[..., RetrievalLoss], queries: list[int]) -> None:
    documents = [11, 12, 11, 14]
    rows, items = anchors(queries, documents), vectors(documents)
    known = {"target_ids": rows.positives, "candidate_ids": rows.positives}
    forth = loss().from_embeddings(
        rows.vectors, items, items, **known, excluded_ids=rows.known_to(rows), num_sampled=3
    )
    back = loss_of_anchors(loss(), items, rows, rows)
    both = {"user_ids": rows.ids, "symmetric": True}
    expected = loss().in_batch(rows.vectors, items, item_ids=rows.positives, **both)
    torch.testing.assert_close((forth + back) / 2, expected)


def test_rows_of_other_processes_are_ranked_and_the_loss_keeps_its_number_of_items() -> None:
    queries, documents = [1, 2, 1, 4], [11, 12, 13, 12]
    loss = LOSSES[1](num_items=900)
    every = anchors(queries, documents)
    whole = loss_of_anchors(loss, vectors(documents), every, every)
    parts = [
        loss_of_anchors(loss, vectors(documents[part]), anchors(queries[part], documents[part]), every)
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    assert loss.num_items == 900


@pytest.mark.parametrize(("queries", "documents"), [([1], [11]), ([1, 1, 2], [11, 11, 11])])
def test_rows_with_nothing_to_compare_with_cost_nothing(queries: list[int], documents: list[int]) -> None:
    rows = anchors(queries, documents)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if len(queries) == 1 else "ignore")
        assert float(loss_of_anchors(LOSSES[0](), vectors(documents), rows, rows)) == pytest.approx(0)


def test_anchors_are_told_apart_by_their_texts_or_by_their_positives() -> None:
    tokens, positives = torch.tensor([[3, 4], [3, 5], [3, 4]]), torch.tensor([7, 8, 9])
    found = Anchors.of(vectors([1, 2, 1]), {"input_ids": tokens}, positives)
    assert found.ids[0] == found.ids[2] != found.ids[1]
    assert torch.equal(Anchors.of(vectors([1, 2, 1]), {"pixel_values": tokens}, positives).ids, positives)
