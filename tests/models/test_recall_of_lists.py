"""Recall@N of evaluation is that of the lists that are delivered: every split, architecture and setting."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from lightning_croloss import (
    HSTU,
    MIND,
    NGCF,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    ESASRec,
    GRU4Rec,
    LightGCN,
    MatrixFactorization,
    RetrievalModel,
    SASRec,
    TwoTower,
    YouTubeDNN,
)
from lightning_croloss.baselines import Popularity, baseline_ranks
from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    Interactions,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    RetrievalDataModule,
    Split,
    UserDisjoint,
    Vocabulary,
)
from lightning_croloss.metrics import RankMetrics
from tests.data_for_tests import quiet_trainer
from tests.models.small_models import ThreeInterests

USERS, ITEMS, NS = 24, 25, (1, 3, 24)
WHOLE = DataRequest(whole_history=True)
SPLITS: dict[str, Split] = {
    "LeaveOneOut": LeaveOneOut(),
    "PerUserRatio": PerUserRatio(0.5, 0.2, 0.3),
    "UserDisjoint": UserDisjoint(0.5, 0.25, 0.25, history=0.6),
    "GlobalTime": GlobalTime(0.2, 0.3),
    "Predefined": Predefined(),
}
MODELS: dict[str, tuple[type[RetrievalModel], dict[str, object]]] = {
    "YouTubeDNN": (YouTubeDNN, {"hidden_dims": (8,)}),
    "three interests": (ThreeInterests, {"hidden_dims": (8,)}),
    "GRU4Rec": (GRU4Rec, {"hidden_dims": (8,)}),
    "ESASRec": (ESASRec, {"num_blocks": 1, "feedforward_multiplier": 1, "max_length": 20}),
    # with times: tests/cli/test_recommend_events.py
    "HSTU": (HSTU, {"num_blocks": 1, "max_length": 20, "use_times": False}),
    "BERT4Rec": (BERT4Rec, {"num_blocks": 1, "feedforward_dim": 8, "max_length": 20}),
    "BSARec": (BSARec, {"num_blocks": 1, "feedforward_dim": 8, "max_length": 20}),
    "Caser": (Caser, {"num_horizontal": 2}),
    "Caser of users": (Caser, {"use_user_id": True, "num_users": USERS}),
    "SASRec": (SASRec, {"num_blocks": 1, "feedforward_dim": 8, "max_length": 20}),
    "MIND": (MIND, {"num_interests": 3, "hidden_dims": (8,)}),
    "ComiRecSA": (ComiRecSA, {"num_interests": 2, "num_positions": 20}),
    "ComiRecDR": (ComiRecDR, {"num_interests": 2, "num_positions": 20}),
    "TwoTower": (TwoTower, {"user_hidden_dims": (8,)}),
    "TwoTower of users": (TwoTower, {"user_hidden_dims": (8,), "use_user_id": True, "num_users": USERS}),
    "MatrixFactorization": (MatrixFactorization, {"num_users": USERS}),
    "LightGCN": (LightGCN, {"num_users": USERS}),
    "NGCF": (NGCF, {"num_users": USERS}),
}
#: A history shorter than what the users had, or all of it; items had before left out or not; the part.
SETTINGS = [(3, False, "test"), (3, True, "valid"), (20, False, "valid"), (20, True, "test")]


class Repeats(RetrievalDataModule):
    """Users with four to fourteen events, half of them of a few favourites."""

    def load(self) -> Interactions:
        random = np.random.default_rng(1)
        users = np.repeat(np.arange(1, USERS + 1), random.integers(4, 15, USERS))
        times = np.concatenate([np.arange(count) for count in np.bincount(users)])
        items = random.integers(1, ITEMS + 1, len(users))
        favourites = 1 + (users + times % 2) % ITEMS
        parts = np.digitize(times, (2, 4)) if isinstance(self.split, Predefined) else None
        return Interactions.from_ids(
            users,
            np.where(random.random(len(users)) < 0.5, favourites, items),
            Vocabulary([f"user {number}" for number in range(USERS)]),
            Vocabulary([f"item {number}" for number in range(ITEMS)]),
            times,
            parts=parts,
        )


@functools.cache
def data_of(split: str, max_history: int) -> Repeats:
    return Repeats(SPLITS[split], max_history=max_history, eval_batch_size=16)


def recalls(wanted: list[list[int]], lists: list[list[int]]) -> dict[str, float]:
    """Recall of lists, by sets."""
    found = {}
    for n in NS:
        pairs = zip((set(targets) - {0} for targets in wanted), lists, strict=True)
        found[f"recall@{n}"] = float(np.mean([len(t & set(got[:n])) / len(t) for t, got in pairs]))
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("split", SPLITS)
def test_recall_is_that_of_the_lists(split: str, name: str) -> None:
    cls, arguments = MODELS[name]
    trainer = quiet_trainer()
    for seed, (max_history, excludes, part) in enumerate(SETTINGS):
        data = data_of(split, max_history)
        if data.rows.unseen_users and "num_users" in arguments:
            pytest.skip("the model needs users that training has seen")
        torch.manual_seed(seed)
        model = cls(ITEMS, embedding_dim=6, ns=NS, exclude_history=excludes, tile_elements=90, **arguments)
        evaluate = trainer.test if part == "test" else trainer.validate
        (logged,) = evaluate(model, data, verbose=False)
        measured = {name.partition("/")[2]: value for name, value in logged.items()}
        batches = list(data.evaluation_loader(part, WHOLE))
        users = "num_users" in arguments
        lists = [
            model.recommend(batch.items_before, n=ITEMS, users=batch.users if users else None)[0]
            for batch in batches
        ]
        wanted = [targets for batch in batches for targets in batch.targets.tolist()]
        expected = recalls(wanted, torch.cat(lists).tolist())
        assert {name: measured[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert all(0 <= value <= 1 + 1e-6 for name, value in measured.items() if "@" in name)
        assert not any(len(set(row) - {0}) < np.count_nonzero(row) for row in wanted)
        barred = sum(
            len((set(targets) & set(before)) - {0})
            for batch in batches
            for targets, before in zip(batch.targets.tolist(), batch.items_before.tolist(), strict=True)
        )
        assert barred  # the data has repeats
        assert measured.get("excluded_targets", 0) == excludes * barred
    model.predicts_n = ITEMS
    predicted = trainer.predict(model, data.evaluation_loader(part, WHOLE))
    assert torch.equal(torch.cat([ids for ids, _ in predicted]), torch.cat(lists))


@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_recall_of_the_baselines_is_that_of_the_lists(split: str, excludes: bool) -> None:
    data = data_of(split, 3)
    kinds = [Popularity(data)]
    try:
        from lightning_croloss.baselines import ItemKNN, item_similarity

        kinds.append(ItemKNN(item_similarity(data), data.item_counts[1:], 5, 10))
    except ImportError:
        pass
    for baseline in kinds:
        for distinct in (False, True):
            metrics, wanted, lists = RankMetrics(NS), [], []
            for batch in data.evaluation_loader("test", WHOLE):
                scores = baseline.scores(batch.items_before)
                if distinct:
                    scores = scores + torch.arange(ITEMS) * 1e-9
                excluded = batch.items_before if excludes else None
                metrics.update(baseline_ranks(scores, batch.targets, excluded), batch.targets != 0)
                wanted += batch.targets.tolist()
                for row, before in zip(scores.tolist(), batch.items_before.tolist(), strict=True):
                    allowed = [item for item in range(1, ITEMS + 1) if not (excludes and item in before)]
                    lists.append(sorted(allowed, key=lambda item: -row[item - 1]))
            measured, expected = metrics.compute(), recalls(wanted, lists)
            for name, value in expected.items():
                # among equals the target stands last
                assert measured[name] <= value + 1e-9
                assert not distinct or measured[name] == pytest.approx(value, abs=1e-9)


def test_a_tie_at_the_border_only_makes_evaluation_lower() -> None:
    data = data_of("PerUserRatio", 3)
    for excludes in (False, True):
        model = YouTubeDNN(ITEMS, embedding_dim=6, ns=NS, exclude_history=excludes)
        with torch.no_grad():
            model.item_embedding.weight.zero_()  # every score is the same
        (measured,) = quiet_trainer().test(model, data, verbose=False)
        batches = list(data.evaluation_loader("test", WHOLE))
        lists = [row for batch in batches for row in model.recommend(batch.items_before, n=ITEMS)[0].tolist()]
        expected = recalls([targets for batch in batches for targets in batch.targets.tolist()], lists)
        assert all(measured[f"test/{name}"] <= value + 1e-6 for name, value in expected.items())
