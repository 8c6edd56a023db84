"""Exact evaluation against sorting all scores, alone and in several processes."""

import math
import os

import pytest
import torch

from lightning_croloss.data import UserDisjoint
from tests.data_for_tests import ClusteredData, YouTubeDNN, fit, quiet_trainer, small_model
from tests.distributed import run_distributed
from tests.models.small_models import FAST_ADAM, ThreeInterests, validate


def naive_metrics(model, loader, ns):
    """Rank by sorting all scores, one user after the other."""
    model.eval()
    totals = {}
    num_users = 0
    with torch.no_grad():
        items = model.encode_items(None)
        for batch in loader:
            for users, targets, before in zip(
                model.encode_users(batch), batch.targets.tolist(), batch.items_before.tolist(), strict=True
            ):
                scores = torch.stack([items @ interest for interest in users]).amax(0)
                order = [item + 1 for item in scores.argsort(descending=True).tolist()]
                if model.exclude_history:
                    order = [item for item in order if item in targets or item not in before]
                targets = [target for target in targets if target]
                ranks = [1 + order.index(target) for target in targets]
                num_users += 1
                for n in ns:
                    hits = [rank for rank in ranks if rank <= n]
                    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(n, len(targets)) + 1))
                    for name, value in {
                        "recall": len(hits) / len(targets),
                        "hit_rate": float(bool(hits)),
                        "ndcg": sum(1 / math.log2(1 + rank) for rank in hits) / ideal,
                        "mrr": 1 / min(hits) if hits else 0.0,
                    }.items():
                        totals[f"{name}@{n}"] = totals.get(f"{name}@{n}", 0.0) + value
    return {name: total / num_users for name, total in totals.items()}


@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize(
    ("cls", "split"), [(YouTubeDNN, None), (YouTubeDNN, UserDisjoint(history=0.5)), (ThreeInterests, None)]
)
def test_metrics_equal_a_naive_evaluation(cls, split, exclude_history):
    data = ClusteredData(split=split)
    # 100 scores at a time: several tiles a batch
    model = small_model(cls, ns=(3, 10), exclude_history=exclude_history, tile_elements=100)
    fit(model, data, max_epochs=2)
    for stage, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        evaluate = quiet_trainer().validate if stage == "val" else quiet_trainer().test
        (measured,) = evaluate(model, data, verbose=False)
        expected = naive_metrics(model, loader, (3, 10))
        assert set(measured) == {f"{stage}/{name}" for name in expected} == set(model.metric_names(stage))
        for name, value in expected.items():
            assert measured[f"{stage}/{name}"] == pytest.approx(value, abs=1e-6), name
        assert 0.0 < expected["recall@10"] < 1.0


def test_ns_larger_than_the_catalogue_are_refused():
    with pytest.raises(ValueError, match="ns holds 41, but the catalogue has only 40 items"):
        small_model(ns=(10, 41))


def test_evaluation_leaves_out_more_than_the_model_sees():
    data = ClusteredData(max_history=2)
    model = small_model(exclude_history=True)
    fit(model, data)
    batch = next(iter(data.test_dataloader()))
    assert batch.history.shape[1] == 2
    assert batch.items_before.shape[1] == 7  # 8 events, the last is the target
    assert next(iter(data.train_dataloader())).whole_history is None


def fit_in_one_of_two_processes(rank, world_size):
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
    model = small_model(dropout=0.2, history_dropout=0.2, optimizer=FAST_ADAM)
    trainer = fit(
        model,
        ClusteredData(num_users=61, eval_batch_size=8),
        strategy="ddp",
        devices=world_size,
        use_distributed_sampler=True,
        max_epochs=2,
    )
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return trainer.world_size, metrics, {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.slow
def test_two_processes_agree_and_count_each_user_once():
    (world_size, metrics, weights), (_, other_metrics, other_weights) = run_distributed(
        fit_in_one_of_two_processes, 2
    )
    assert world_size == 2
    for name, value in weights.items():
        assert (value == other_weights[name]).all(), name
    model = small_model()
    assert not torch.equal(torch.from_numpy(weights["item_embedding.weight"]), model.item_embedding.weight)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    expected = validate(model, ClusteredData(num_users=61))
    assert 0.0 < expected["val/recall@5"] < 1.0
    for name, value in expected.items():
        assert metrics[name] == other_metrics[name] == value, name
