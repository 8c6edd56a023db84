"""Exact evaluation against sorting all scores, alone and in several processes."""

import dataclasses
import math
import warnings

import pytest
import torch

from lightning_croloss import RetrievalModel, load_pretrained, save_pretrained
from lightning_croloss.callbacks import RecallReport
from lightning_croloss.data import UserDisjoint
from tests.data_for_tests import ClusteredData, YouTubeDNN, fit, quiet_trainer, small_model
from tests.distributed import be_process, run_distributed
from tests.models.small_models import FAST_ADAM, HISTORIES, ThreeInterests, validate


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
                    order = [item for item in order if item not in before]
                targets = [target for target in targets if target]
                ranks = [1 + order.index(target) if target in order else math.inf for target in targets]
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


class Repeats(ClusteredData):
    """Every user ends as it began: the last two events, which are held out, are of the first item."""

    def load(self):
        events = super().load()
        items = events.items.reshape(-1, 8).clone()
        items[:, 6:] = items[:, :1]
        return dataclasses.replace(events, items=items.flatten())


def test_targets_that_are_barred_are_counted_reported_and_warned_of(tmp_path, capsys):
    model = small_model(exclude_history=True)
    trainer = quiet_trainer(tmp_path, callbacks=[RecallReport(plot=False)])
    warning = "60 of 60 targets are items that their users had before, which exclude_history leaves out"
    with pytest.warns(UserWarning, match=warning):
        (measured,) = trainer.test(model, Repeats(), verbose=False)
    assert measured["test/excluded_targets"] == 60
    assert all(value == 0 for name, value in measured.items() if "@" in name)
    assert "60 targets that their users had before: exclude_history bars them" in capsys.readouterr().out
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.test(model, Repeats(), verbose=False)  # says it once
        model.exclude_history = False
        (measured,) = trainer.test(model, Repeats(), verbose=False)
        (other,) = quiet_trainer().test(small_model(exclude_history=True), ClusteredData(), verbose=False)
    assert not [warning for warning in caught if "exclude_history" in str(warning.message)]
    assert "test/excluded_targets" not in measured.keys() | other.keys()


def test_a_loader_without_whole_histories_is_warned_of():
    data = ClusteredData(max_history=2)
    with pytest.warns(UserWarning, match="exclude_history leaves out the last 2 events of each user only"):
        quiet_trainer().test(small_model(exclude_history=True), data.test_dataloader(), verbose=False)


@pytest.mark.parametrize("excludes", [True, False])
def test_the_setting_travels_and_is_what_recommends(tmp_path, excludes):
    model = small_model(exclude_history=not excludes)
    fit(model, limit_train_batches=1)
    model.exclude_history = excludes
    model.trainer.save_checkpoint(tmp_path / "model.ckpt")
    models = [
        model,
        RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt"),
        load_pretrained(save_pretrained(model, tmp_path / "folder")),
    ]
    tokens = [[f"item {item - 1}" for item in history] for history in HISTORIES]
    for each in models:
        assert each.exclude_history == excludes
        ids, _ = each.recommend(HISTORIES, 40)
        assert torch.equal(ids, model.recommend(HISTORIES, 40, exclude_history=excludes)[0])
        assert [bool(set(row) & set(had)) for row, had in zip(ids.tolist(), HISTORIES, strict=True)] == [
            not excludes
        ] * len(HISTORIES)
        for user, row in zip(each.recommend_tokens(tokens, 40), ids.tolist(), strict=True):
            assert user.tokens == [f"item {item - 1}" for item in row if item]
    other = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", exclude_history=not excludes)
    assert other.exclude_history != excludes


def fit_in_one_of_two_processes(rank, world_size):
    be_process(rank, world_size)
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
