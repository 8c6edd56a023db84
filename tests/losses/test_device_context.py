"""Losses that are built, and called, where tensors without a device of their own lie on another device."""

import math

import pytest
import torch

from lightning_croloss import CROLoss, PopularityNegatives, RecallSurrogateLoss
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses import Importance, RetrievalLoss
from lightning_croloss.losses.log_prob import log_prob_from_counts
from tests.losses.cases import IMPORTANCES, LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:the scores of a row", "ignore:n=", "ignore:the logits have")
GENERATOR = torch.Generator().manual_seed(0)
USERS, ITEMS, CANDIDATES = (torch.randn(rows, 4, generator=GENERATOR) for rows in (6, 6, 30))
IDS, TARGETS = torch.arange(1, 31), torch.tensor([3, 0, 5, 5, 1, 29]) + 1
LISTS = ItemLists(torch.tensor([3, 4, 9]), torch.tensor([0, 2, 2, 3]), torch.tensor([0, 1, 2, 0, 1, 2]))
CALLS = {
    "scores": lambda loss: loss(USERS[:, 0], CANDIDATES.view(6, 20), negative_mask=IDS[:20] > 18),
    "embeddings": lambda loss: loss.from_embeddings(
        USERS, ITEMS, CANDIDATES, target_ids=TARGETS, candidate_ids=IDS, excluded_ids=LISTS
    ),
    "of each row": lambda loss: loss.from_embeddings(
        USERS, ITEMS, CANDIDATES.expand(6, 30, 4), candidate_ids=IDS.expand(6, 30), excluded_ids=LISTS
    ),
    "drawn": lambda loss: loss.from_embeddings(USERS, ITEMS, CANDIDATES, candidate_ids=IDS.flip(0)),
    "in_batch": lambda loss: loss.in_batch(USERS, ITEMS, item_ids=TARGETS, item_counts=[7] * 31),
    "logits": lambda loss: loss.from_logits(CANDIDATES.view(6, 20), TARGETS % 20),
    "several": lambda loss: loss.from_logits(CANDIDATES.view(6, 20), TARGETS.view(6, 1) % 20),
}


def values(part: RetrievalLoss | Importance) -> dict[str, float]:
    return {name: float(value) for name, value in part.schedulable().items()}


@pytest.mark.parametrize("build", [*LOSSES.values(), *IMPORTANCES.values()], ids=[*LOSSES, *IMPORTANCES])
def test_what_is_scheduled_stays_on_the_processor(build):
    with torch.device("meta"):
        part = build()
    assert values(part) == values(build())


@pytest.mark.parametrize("name", [*LOSSES, "target_n"])
def test_a_loss_that_was_built_without_memory_computes_what_another_does(name):
    build = LOSSES.get(name, lambda **kwargs: CROLoss("exp", n=5, **kwargs))
    with torch.device("meta"):
        loss = build(num_items=30)
    loss.to_empty(device="cpu")
    assert torch.equal(CALLS["embeddings"](loss), CALLS["embeddings"](build(num_items=30)))


@pytest.mark.parametrize(
    ("call", "fused"),
    [(call, fused) for call in CALLS for fused in (True, False) if (call, fused) != ("of each row", True)],
)
def test_a_call_makes_its_tensors_beside_those_that_are_given(call, fused):
    losses = (CROLoss("softplus", lambda_weight=0.5, num_items=30, fused=fused) for _ in range(2))
    expected = CALLS[call](next(losses))
    with torch.device("meta"):
        found = CALLS[call](next(losses))
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)


def test_a_schedule_may_change_what_inference_mode_has_built():
    with torch.inference_mode():
        loss = RecallSurrogateLoss()
    for value in loss.schedulable().values():
        value.fill_(0.3)
    assert math.isfinite(float(CALLS["scores"](loss)))


def test_counts_and_a_sampler_stay_on_the_processor():
    with torch.device("meta"):
        assert log_prob_from_counts([0, 1, 3]).exp().tolist() == [0.0, 0.25, 0.75]
        negatives = PopularityNegatives(4)
        negatives.set_num_items(3)
        negatives.prepare(*(torch.tensor([0, 5, 2, 1], device="cpu") for _ in range(2)))
    assert negatives.log_prob(torch.tensor([1, 3])).isfinite().all()
