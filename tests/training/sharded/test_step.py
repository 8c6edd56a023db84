"""A training step in shards equals that of one process: values and gradients, every architecture."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import distributed

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss.data.request import DataRequest
from lightning_croloss.models import (
    HSTU,
    MIND,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    ESASRec,
    GRU4Rec,
    MatrixFactorization,
    SASRec,
    TwoTower,
    YouTubeDNN,
)
from lightning_croloss.negatives import Candidates, WholeCatalogue
from lightning_croloss.training.sharded.tables import shard_tables, shards_of
from tests.data_for_tests import EventData
from tests.distributed import run_distributed

USERS = {"num_users": 60}
ITEM_FEATURES = {"item_features": EventData().item_feature_specs}
USER_FEATURES = {**USERS, "user_features": EventData().user_feature_specs}
EVENT_FEATURES = {"event_features": EventData().event_feature_specs}


class Drawn(UniformNegatives):
    """Draws the same items in every call and process."""

    def sample(self, batch: Any) -> Candidates:
        """Return 20 items, some of them twice."""
        ids = 1 + torch.randint(40, (20,), generator=torch.Generator().manual_seed(4))
        return Candidates(ids, self.log_prob(ids), self.excluded(batch))


class Weighted(FullCatalogNegatives):
    """Takes every item, as if some were drawn more often than others."""

    def sample(self, batch: Any) -> Candidates:
        """Return all items with probabilities of their own."""
        log_prob = torch.linspace(-5.0, -3.0, self.num_items).double()
        return WholeCatalogue(self.num_items, batch.history.device, log_prob)


FULL, DRAWN = FullCatalogNegatives, Drawn
SOFTMAX = SoftmaxLoss(temperature=0.3)
CASES: dict[str, partial[Any]] = {
    "MatrixFactorization": partial(MatrixFactorization, **USERS, negatives=FULL()),
    "MatrixFactorization, drawn": partial(MatrixFactorization, **USERS, negatives=DRAWN(), loss=BPRLoss()),
    "MatrixFactorization, weighted": partial(MatrixFactorization, **USERS, negatives=Weighted()),
    "TwoTower": partial(TwoTower, **USER_FEATURES, **ITEM_FEATURES, use_user_id=True, negatives=FULL()),
    "TwoTower, drawn": partial(
        TwoTower,
        **ITEM_FEATURES,
        item_interactions=("fm", "cross"),
        item_hidden_dims=(8,),
        negatives=DRAWN(exclude_known_positives=True),
        loss=CROLoss(n=5),
    ),
    "TwoTower, crossed": partial(TwoTower, **ITEM_FEATURES, item_interactions=("cross",), negatives=FULL()),
    "YouTubeDNN": partial(YouTubeDNN, negatives=FULL(exclude_known_positives=True), loss=CROLoss(n=5)),
    "YouTubeDNN, learned": partial(
        YouTubeDNN, negatives=FULL(), loss=CROLoss(n=5, learnable_temperature=True)
    ),
    "YouTubeDNN, in batch": partial(YouTubeDNN, negatives=InBatchNegatives(True)),
    "YouTubeDNN, mixed": partial(YouTubeDNN, negatives=MixedNegatives([DRAWN(), InBatchNegatives(True)])),
    "MIND": partial(MIND, negatives=FULL(), loss=SOFTMAX),
    "ComiRecSA": partial(ComiRecSA, negatives=DRAWN(), loss=SOFTMAX),
    "ComiRecDR": partial(ComiRecDR, negatives=FULL()),
    "GRU4Rec": partial(GRU4Rec, negatives=FULL()),
    "GRU4Rec, all": partial(GRU4Rec, train_on="all", negatives=DRAWN(), **EVENT_FEATURES),
    "SASRec": partial(SASRec, train_on="all", negatives=FULL(), loss=SOFTMAX),
    "SASRec, last": partial(SASRec, negatives=FULL(), similarity="dot", loss=SOFTMAX),
    "ESASRec": partial(ESASRec, negatives=DRAWN()),
    "HSTU": partial(HSTU, negatives=FULL()),
    "Caser": partial(Caser, **USERS, use_user_id=True, negatives=DRAWN()),
    "BERT4Rec": partial(
        BERT4Rec, mask_probability=1 - 1e-9, mask_last_probability=0.0, negatives=FULL(), loss=SOFTMAX
    ),
    "BSARec": partial(BSARec, negatives=FULL()),
}


def built(case: str) -> Any:
    """Return a model in float64 that draws nothing: not in training mode, where it would drop."""
    torch.manual_seed(3)
    return CASES[case](num_items=40, embedding_dim=8, ns=(5, 10)).double().eval()


def batch_for(model: Any) -> Any:
    """Return a training batch of 70 rows or windows."""
    data = EventData(batch_size=70)
    data.prepare_for(
        DataRequest(
            all_positions=model.all_positions,
            known_positives=model.negatives.exclude_known_positives,
            events=data.event_inputs,
        )
    )
    data.setup("fit")
    model.negatives.prepare(data.item_counts, data.target_counts)
    model._fill_features(data)
    return next(iter(data.train_dataloader()))


def both(rank: int, world: int) -> dict[str, dict[str, float]]:
    """Return for each case the largest difference of the loss, of each gradient and of the items' vectors."""
    found = {}
    for case in CASES:
        whole = built(case)
        batch = batch_for(whole)
        own = copy.deepcopy(whole)
        shard_tables(own)
        for part in whole.negatives.modules():
            if isinstance(part, InBatchNegatives):
                part.gather_across_devices = False  # it has all rows
        expected = whole.loss_of(batch)
        expected.backward()
        size = batch.batch_size
        mine = batch[0 : size - 9] if rank == 0 else batch[size - 9 : size]  # not as many in each
        loss = own.loss_of(mine)
        loss.backward()
        mean = loss.detach().clone()
        distributed.all_reduce(mean)
        errors = {"loss": abs(float(mean / world - expected.detach()))}
        theirs = dict(whole.named_parameters())
        for name, parameter in own.named_parameters():
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            other = theirs[name].grad
            other = torch.zeros_like(theirs[name]) if other is None else other
            table = name.removesuffix(".weight")
            if table in shards_of(own):
                shards = shards_of(own)[table]
                other = other[shards.start : shards.stop]
            else:
                distributed.all_reduce(grad)
                grad /= world
            errors[name] = float((grad - other).abs().max()) if other.numel() else 0.0
        rows = own.item_shards.own_items
        with torch.no_grad():
            vectors = whole.encode_items(None)[rows.start - 1 : rows.stop - 1]
            errors["vectors"] = float((own.encode_items(None) - vectors).abs().max())
        found[case] = errors
    return found


@pytest.fixture(scope="module")
def differences() -> list[dict[str, dict[str, float]]]:
    """Return what :func:`both` returns in each of two processes."""
    return run_distributed(both, 2)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_one_process(case: str, differences: Any) -> None:
    for of_process in differences:
        wrong = {name: error for name, error in of_process[case].items() if not error < 1e-12}
        assert not wrong
