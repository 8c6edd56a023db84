"""What torch-rechub's models say of their scores, on stand-ins: torch-rechub need not be installed."""

from __future__ import annotations

from types import SimpleNamespace as Model
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_croloss import CROLoss
from lightning_croloss.integrations.torch_rechub_losses import list_loss, pair_loss
from lightning_croloss.integrations.torch_rechub_outputs import sampled_names, towers
from lightning_croloss.losses.batches.item_counts import ItemCounts


def feature(name: str) -> Any:
    return Model(name=name)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Model(item_features=[feature("item")], neg_item_feature=[feature("drawn")]), ("item", "drawn")),
        (Model(item_features=["item"], neg_item_features=["drawn"]), ("item", "drawn")),  # as SINE
        (Model(pos_item_features=[feature("item")], neg_item_features=[feature("one")]), None),
        (Model(item_features=[feature("item")]), None),
        (Model(item_feature=None), None),
    ],
)
def test_the_negatives_that_the_data_has_sampled(model: Any, names: Any) -> None:
    assert sampled_names(model) == names


LOSS = CROLoss("exp", temperature=0.5, num_items=7)
BATCH = {"item": torch.tensor([1, 2, 3]), "drawn": torch.tensor([[4, 1], [2, 2], [5, 6]])}
SAMPLED = Model(item_features=["item"], neg_item_features=["drawn"])


def scores(columns: int) -> Tensor:
    return torch.randn(3, columns, generator=torch.Generator().manual_seed(0))


def found(model: Any, given: Tensor, labels: Any = 0, counts: Any = None) -> Tensor:
    counted = None if counts is None else ItemCounts().of(counts, given.device)
    return list_loss(LOSS, model, given, torch.as_tensor(labels).expand(3), BATCH, counted)


def test_a_target_that_was_drawn_is_no_negative_and_counts_matter() -> None:
    given, counts = scores(3), torch.arange(1, 8)
    hits = torch.tensor([[False, True], [True, True], [False, False]])
    expected = LOSS(given[:, 0], given[:, 1:], negative_mask=hits)
    torch.testing.assert_close(found(SAMPLED, given), expected)
    log_q = (counts / counts.sum()).log()[BATCH["drawn"]]
    expected = LOSS(given[:, 0], given[:, 1:], negative_mask=hits, negative_log_prob=log_q)
    torch.testing.assert_close(found(SAMPLED, given, counts=counts), expected)


def test_a_model_that_draws_rows_itself_scores_no_catalogue() -> None:
    given = scores(3)
    torch.testing.assert_close(
        found(Model(item_features=["item"], sample_weight_feature=["weight"]), given),
        LOSS(given[:, 0], given[:, 1:]),
    )


def test_padding_is_no_negative_and_no_target_of_the_catalogue() -> None:
    given = scores(8).requires_grad_()
    with torch.no_grad():
        given[:, 0] = 9.0
    value = found(Model(), given, [4, 0, 7])
    torch.testing.assert_close(value, LOSS.from_logits(given[[0, 2], 1:], torch.tensor([3, 6])))
    value.backward()
    assert given.grad is not None
    assert not given.grad[:, 0].any()


def test_positions_of_padding_are_no_pairs() -> None:
    after = torch.tensor([[3, 1, 0], [2, 0, 0]])
    positive, negative = scores(3)[:2], scores(3).flip(0)[:2]
    value = pair_loss(
        LOSS,
        Model(features=[feature(name) for name in ("seq", "next", "other")]),
        (positive, negative),
        {"next": after},
    )
    torch.testing.assert_close(value, LOSS(positive[after > 0], negative[after > 0][:, None]))
    value = pair_loss(LOSS, Model(), (positive[:, 0], negative[:, 0]), {})
    torch.testing.assert_close(value, LOSS(positive[:, 0], negative[:, :1]))


def test_labels_of_the_whole_catalogue_are_ids() -> None:
    found(Model(), scores(8), [0, 3, 7])
    with pytest.raises(ValueError, match="a row's label is its target's id"):
        found(Model(), scores(8))


@pytest.mark.parametrize("given", [scores(2), scores(4), scores(3)[:, 0], (scores(3), scores(3))])
def test_lists_are_as_long_as_what_was_drawn(given: Any) -> None:
    with pytest.raises(ValueError, match=r"mode=2 needs scores \(3, 3\) of .* SimpleNamespace returns \("):
        list_loss(LOSS, SAMPLED, given, torch.zeros(3), BATCH, None)


@pytest.mark.parametrize("given", [scores(3)[:, 0], (scores(3), scores(3))])
def test_other_lists_are_two_dimensional(given: Any) -> None:
    with pytest.raises(ValueError, match=r"mode=2 needs scores \(B, C\), but SimpleNamespace returns"):
        list_loss(LOSS, Model(), given, torch.ones(3), BATCH, None)


@pytest.mark.parametrize("given", [scores(3), scores(2)[:, 0], (scores(3),)])
def test_a_list_is_no_pair(given: Any) -> None:
    with pytest.raises(ValueError, match="mode=1 needs scores of positives and of negatives"):
        pair_loss(LOSS, Model(), given, BATCH)


@pytest.mark.parametrize("users", [(3, 4), (3, 1, 4)])
@pytest.mark.parametrize("items", [(3, 4), (3, 1, 4), (3, 6, 4)])
def test_towers_give_one_vector_a_row(users: tuple[int, ...], items: tuple[int, ...]) -> None:
    first, second = torch.rand(users), torch.rand(items)
    found = towers(Model(user_tower=lambda _: first, item_tower=lambda _: second), BATCH)
    torch.testing.assert_close(found[0], first.view(3, 4))
    torch.testing.assert_close(found[1], second.view(3, -1, 4)[:, 0])


@pytest.mark.parametrize("users", [None, torch.rand(3), torch.rand(3, 2, 4)])
def test_towers_without_one_vector_a_row_get_a_sentence(users: Any) -> None:
    for pair in ((users, torch.rand(3, 4)), (torch.rand(3, 4), None)):
        model = Model(user_tower=lambda _, p=pair: p[0], item_tower=lambda _, p=pair: p[1])
        with pytest.raises(ValueError, match=r"in_batch_neg needs vectors \(B, D\) of users and items"):
            towers(model, BATCH)
