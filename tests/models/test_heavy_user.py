"""One user with very many events costs the memory of these events, and changes no result."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from croloss_serving.common import blocks
from lightning_croloss import CROLoss, FullCatalogNegatives, UniformNegatives
from lightning_croloss.baselines import Popularity, baseline_ranks
from lightning_croloss.baselines.measuring import WHOLE_HISTORY, _evaluate
from lightning_croloss.common import item_lists
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.data import DataRequest, Interactions, PerUserRatio, RetrievalDataModule
from lightning_croloss.models import SASRec, YouTubeDNN
from tests.data_for_tests import quiet_trainer

ITEMS = 60


class WithHeavyUser(RetrievalDataModule):
    """Forty users with eight events, one of them with many more."""

    def __init__(self, heavy=500, users=40, **kwargs):
        super().__init__(max_history=5, batch_size=32, **kwargs)
        self.heavy, self.users = heavy, users

    def load(self):
        rng = np.random.default_rng(0)
        users = np.concatenate([np.repeat(np.arange(self.users), 8), np.full(self.heavy, 7)])
        items = np.concatenate([np.arange(ITEMS), rng.integers(0, ITEMS, len(users) - ITEMS)])
        return Interactions.from_columns(users, items)


class Largest(TorchDispatchMode):
    """Notes the most entries of any tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(value, torch.Tensor) and not value.is_sparse and value.untyped_storage().nbytes():
                self.entries = max(self.entries, value.untyped_storage().nbytes() // value.element_size())
        return made


@pytest.fixture
def small_blocks(monkeypatch):
    """Ids are lists as soon as padding wastes anything, and padded a few rows at a time."""

    def apply():
        monkeypatch.setattr(blocks, "MOST_ENTRIES", 40)
        monkeypatch.setattr(item_lists, "_WASTE", 1)

    return apply


def build(cls=YouTubeDNN, **kwargs):
    torch.manual_seed(0)
    defaults = {"embedding_dim": 8, "ns": (5, 20), "negatives": UniformNegatives(30)}
    return cls(num_items=ITEMS, **{**defaults, **kwargs})


@pytest.mark.parametrize("split", [None, PerUserRatio(0.6, 0.2, 0.2)])
@pytest.mark.parametrize("exclude", [False, True])
def test_evaluation_and_prediction_are_those_of_padded_ids(small_blocks, split, exclude):
    def results():
        data, model = WithHeavyUser(split=split), build(exclude_history=exclude)
        trainer = quiet_trainer()
        found = trainer.test(model, data, verbose=False)[0]
        predicted = trainer.predict(model, data)
        batch = next(iter(data.evaluation_loader("test", WHOLE_HISTORY)))
        baseline = _evaluate(Popularity(data), data.evaluation_loader("test", WHOLE_HISTORY), [5], exclude)
        return found, [torch.cat(parts) for parts in zip(*predicted, strict=True)], baseline, batch

    expected = results()
    small_blocks()
    found = results()
    assert isinstance(found[3].whole_history, ItemLists)
    assert isinstance(found[3].targets, ItemLists) == (split is not None)
    assert torch.equal(found[3].padded_items_before, expected[3].padded_items_before)
    assert torch.equal(found[3].padded_targets, expected[3].padded_targets)
    assert torch.equal(found[3].has_items_before, expected[3].has_items_before)
    assert found[0] == expected[0]
    assert found[2] == expected[2]
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("cls", "options"),
    [(YouTubeDNN, {}), (SASRec, {"train_on": "all", "dropout": 0.0}), (SASRec, {"train_on": "last"})],
)
def test_excluded_positives_are_those_of_padded_ids(small_blocks, cls, options, fused):
    def losses():
        negatives = [
            UniformNegatives(30, exclude_known_positives=True),
            UniformNegatives(30, shared=False, exclude_known_positives=True),
            FullCatalogNegatives(exclude_known_positives=True),
        ]
        found = []
        for sampler in negatives[::2] if fused else negatives:
            model = build(cls, negatives=sampler, loss=CROLoss(fused=fused), **options).eval()
            data = WithHeavyUser(seed=0)
            data.prepare_for(DataRequest(known_positives=True, all_positions=model.all_positions))
            batch = next(iter(data.train_dataloader()))
            torch.manual_seed(1)
            found.append(model.loss_of(batch.to("cpu")))
        return torch.stack(found), batch

    expected, _ = losses()
    small_blocks()
    found, batch = losses()
    assert isinstance(batch.known_positives, ItemLists)
    torch.testing.assert_close(found, expected)


def test_recommendations_are_those_of_padded_histories(small_blocks):
    model, data = build(), WithHeavyUser()
    quiet_trainer(max_steps=1, limit_val_batches=0).fit(model, data)
    rng = np.random.default_rng(1)
    histories = [rng.integers(1, ITEMS + 1, length).tolist() for length in (3, 0, 700, 8, 1)]
    tokens = [[item - 1 for item in history] for history in histories]

    def results():
        return (
            [model.recommend(histories, 10, exclude_history=exclude) for exclude in (False, True)],
            [model.recommend_tokens(tokens, n=10, exclude_history=exclude) for exclude in (False, True)],
        )

    expected = results()
    small_blocks()
    found = results()
    for one, other in zip(found[0], expected[0], strict=True):
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1], other[1])
    assert [[user.tokens for user in users] for users in found[1]] == [
        [user.tokens for user in users] for users in expected[1]
    ]


@pytest.mark.parametrize("split", [None, PerUserRatio(0.6, 0.2, 0.2)])
def test_memory_follows_the_sum(split):
    heavy, users = 200_000, 1_000
    data = WithHeavyUser(heavy, users, split=split)
    data.rows  # noqa: B018
    model = build(exclude_history=True)
    trainer = quiet_trainer(num_sanity_val_steps=0)
    with Largest() as largest:
        trainer.test(model, data, verbose=False)
        trainer.predict(model, data)
        model.recommend([[1, 2]] * users + [[3] * heavy], n=5)
    assert largest.entries < 20 * (heavy + 8 * users)  # padded it would be 1,000 times as many


@pytest.mark.parametrize(("cls", "options"), [(YouTubeDNN, {}), (SASRec, {"train_on": "all"})])
def test_memory_of_excluded_positives_follows_the_sum(cls, options):
    heavy = 50_000
    data = WithHeavyUser(heavy, 200)
    model = build(cls, negatives=UniformNegatives(30, exclude_known_positives=True), **options)
    with Largest() as largest:
        quiet_trainer(max_steps=3, limit_val_batches=0).fit(model, data)
    assert largest.entries < 20 * (heavy + 8 * 200)


def test_baselines_rank_many_targets():
    scores = torch.rand(2, 30, dtype=torch.float64)
    targets = torch.arange(1, 31).expand(2, 30)
    ranks = baseline_ranks(scores, targets, None)
    assert ranks.sort(1).values.tolist() == [list(range(1, 31))] * 2
