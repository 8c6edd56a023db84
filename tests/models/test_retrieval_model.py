import csv
import functools
import math
import os

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn
from torch.nn import functional

from lightning_croloss import CROLoss, SoftmaxLoss, TargetNImportance
from lightning_croloss.data import RetrievalBatch, UserDisjoint
from lightning_croloss.errors import NonFiniteLossError
from tests.data_for_tests import ClusteredData, YouTubeDNN, fit, quiet_trainer, small_model
from tests.distributed import run_distributed

FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.02)


class ThreeInterests(YouTubeDNN):
    """Three vectors for each user."""

    def __init__(self, num_items: int, **kwargs) -> None:
        super().__init__(num_items, **kwargs)
        self.interests = nn.Linear(self.embedding_dim, 3 * self.embedding_dim)

    def encode_users(self, batch: RetrievalBatch):
        return self.normalize(self.interests(super().encode_users(batch)).unflatten(-1, (3, -1)).squeeze(1))


class BreakingLoss(SoftmaxLoss):
    """Becomes NaN at its call number ``after``, counted from 0."""

    def __init__(self, after: int) -> None:
        super().__init__(temperature=0.25)
        self.after = after
        self.calls = 0

    def row_losses(self, batch):
        self.calls += 1
        return super().row_losses(batch) * (math.nan if self.calls > self.after else 1.0)


def validate(model, data=None):
    (metrics,) = quiet_trainer().validate(model, data or ClusteredData(), verbose=False)
    return metrics


def logged(folder, name):
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (YouTubeDNN, {}),
        (YouTubeDNN, {"similarity": "dot", "loss": SoftmaxLoss(1.0)}),
        (ThreeInterests, {"loss": CROLoss("softplus", TargetNImportance(10))}),
    ],
)
def test_training_lowers_the_loss_and_finds_the_items(tmp_path, cls, arguments):
    model = small_model(cls, optimizer=FAST_ADAM, **arguments)
    before = validate(model)["val/recall@10"]
    trainer = fit(model, folder=tmp_path, max_epochs=10)
    losses = logged(tmp_path, "train/loss")
    assert len(losses) == trainer.global_step == 100
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    after = float(trainer.callback_metrics["val/recall@10"])
    assert before < 0.5
    assert after > 0.8  # the ten items of the user's cluster


def test_training_in_bfloat16():
    model = small_model(optimizer=FAST_ADAM)
    trainer = fit(model, max_epochs=10, precision="bf16-mixed")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert trainer.callback_metrics["val/recall@10"] > 0.9


def test_training_follows_the_seed(monkeypatch):
    def trained(seed, disturb):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        model = small_model()
        torch.manual_seed(disturb)  # what came before training has no say
        fit(model, ClusteredData(seed=0), limit_train_batches=2)
        return model.item_embedding.weight

    assert torch.equal(trained(1, disturb=1), trained(1, disturb=2))
    assert not torch.equal(trained(1, disturb=1), trained(2, disturb=1))


def test_select_interest_takes_the_one_closest_to_the_target():
    users, positives = torch.randn(50, 3, 8), torch.randn(50, 8)
    chosen = small_model().select_interest(users, positives)
    for row in range(50):
        scores = [float(users[row, interest] @ positives[row]) for interest in range(3)]
        assert torch.equal(chosen[row], users[row, scores.index(max(scores))])


def test_the_loss_learns_the_size_of_the_catalogue():
    assert small_model(loss=CROLoss()).loss.num_items == 40
    assert small_model(loss=CROLoss(num_items=40)).loss.num_items == 40
    with pytest.raises(ValueError, match="the loss was given num_items=50, but the catalogue has 40 items"):
        small_model(loss=CROLoss(num_items=50))
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 41"):
        small_model(loss=CROLoss(importance=TargetNImportance(41)))


def test_a_loss_that_is_no_number_stops_the_run_and_spares_weights_and_checkpoints(tmp_path):
    seen = {}

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 1:
                seen["file"] = (tmp_path / "best.ckpt").read_bytes()
            seen["weights"] = [parameter.detach().clone() for parameter in pl_module.parameters()]

    best = ModelCheckpoint(tmp_path, filename="best", monitor="val/recall@10", mode="max")
    model = small_model(loss=BreakingLoss(after=13))
    message = r"loss is nan at step 13 \(BreakingLoss: temperature=0.25\): lower the learning rate"
    with pytest.raises(NonFiniteLossError, match=message):
        # no logging at step 13: on the CPU every step is looked at
        fit(model, callbacks=[best, Watch()], enable_checkpointing=True, max_epochs=3, log_every_n_steps=50)
    assert seen["file"] == (tmp_path / "best.ckpt").read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "best.ckpt"]
    assert all(torch.equal(old, new) for old, new in zip(seen["weights"], model.parameters(), strict=True))


def test_the_message_holds_the_soft_rank_of_croloss():
    model = small_model(loss=CROLoss())
    with torch.no_grad():
        model.item_embedding.weight.fill_(math.inf)
    with pytest.raises(NonFiniteLossError, match=r"CROLoss: temperature=0.1, .*alpha=1, soft_rank=nan"):
        fit(model)


# ---------------------------------------------------------------------- optimizers


STEP_LR = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
# a metric that never improves by 9
PLATEAU = functools.partial(
    ReduceLROnPlateau, monitor="val/recall@10", mode="max", threshold=9.0, threshold_mode="abs", factor=0.5
)


@pytest.mark.parametrize(
    ("scheduler", "interval", "rate"),
    [
        (None, "epoch", 0.08),
        (STEP_LR, "epoch", 0.08 / 2**3),
        (STEP_LR, "step", 0.08 / 2**12),
        (functools.partial(PLATEAU, patience=0), "epoch", 0.08 / 2**2),
        (functools.partial(PLATEAU, patience=1), "epoch", 0.08 / 2),
    ],
)
def test_any_optimizer_and_scheduler(scheduler, interval, rate):
    optimizer = functools.partial(torch.optim.SGD, lr=0.08, momentum=0.5)
    model = small_model(optimizer=optimizer, lr_scheduler=scheduler, lr_scheduler_interval=interval)
    trainer = fit(model, max_epochs=3, limit_train_batches=4)
    (used,) = trainer.optimizers
    assert isinstance(used, torch.optim.SGD)
    assert used.param_groups[0]["momentum"] == 0.5
    assert used.param_groups[0]["lr"] == pytest.approx(rate)


def test_the_default_optimizer_is_adam():
    (used,) = fit(small_model(), limit_train_batches=1).optimizers
    assert type(used) is torch.optim.Adam
    assert used.param_groups[0]["lr"] == 1e-3


# ---------------------------------------------------------------------- evaluation


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


@pytest.mark.parametrize("callback", [EarlyStopping, ModelCheckpoint])
def test_monitoring_what_is_not_measured_fails_before_training(callback, tmp_path):
    arguments = {"dirpath": tmp_path} if callback is ModelCheckpoint else {}
    watcher = callback(monitor="val/recall@50", mode="max", **arguments)
    model = small_model(loss=BreakingLoss(after=0))  # would fail at the first step
    with pytest.raises(ValueError, match=callback.__name__) as caught:
        fit(model, callbacks=[watcher], enable_checkpointing=True, num_sanity_val_steps=0)
    assert str(caught.value) == (
        f"{callback.__name__} monitors 'val/recall@50', which is not measured; did you mean 'val/recall@5'? "
        "(ns are the model's)"
    )


def test_early_stopping_on_a_recall():
    stopping = EarlyStopping(monitor="val/recall@10", mode="max", min_delta=9.0, patience=2)
    assert fit(small_model(), callbacks=[stopping], max_epochs=20).current_epoch == 3


# ---------------------------------------------------------------------- recommendations


@pytest.fixture(scope="module")
def trained():
    model = small_model(dropout=0.5, history_dropout=0.5)
    fit(model, ClusteredData(max_history=4), max_epochs=1)
    return model


HISTORIES = [[3, 1, 2], [11, 12, 13, 14], [40]]


@pytest.mark.parametrize("exclude_history", [False, True])
def test_recommend_equals_sorting_all_scores(trained, exclude_history):
    ids, scores = trained.recommend(HISTORIES, n=7, exclude_history=exclude_history)
    assert ids.shape == scores.shape == (3, 7)
    trained.eval()
    for row, history in enumerate(HISTORIES):
        one = torch.zeros(1, 1, dtype=torch.long)
        batch = RetrievalBatch(history=torch.tensor([history]), targets=one, users=one[0])
        with torch.no_grad():
            expected = trained.encode_items(None) @ trained.encode_users(batch)[0, 0]
        if exclude_history:
            expected[torch.tensor(history) - 1] = -math.inf
        order = expected.argsort(descending=True)[:7]
        assert ids[row].tolist() == (order + 1).tolist()
        assert torch.allclose(scores[row], expected[order], atol=1e-6)


def test_recommend_takes_lists_and_padded_tensors(trained):
    padded = torch.tensor([[0, 3, 1, 2], [11, 12, 13, 14], [0, 0, 0, 40]])
    for got, expected in zip(trained.recommend(padded, 7), trained.recommend(HISTORIES, 7), strict=True):
        assert torch.equal(got, expected)


def test_recommend_reads_the_last_events_only(trained):
    assert trained.metadata.max_history == 4
    long, short = ([20, 21, *HISTORIES[1]], HISTORIES[1])
    assert torch.equal(*(trained.recommend([each], 40, exclude_history=False)[1] for each in (long, short)))
    fresh = small_model()  # has met no data, reads all
    different = fresh.recommend([[20, 21, *HISTORIES[1]]], 5)[1] != fresh.recommend([HISTORIES[1]], 5)[1]
    assert different.all()


def test_recommend_leaves_out_the_whole_history(trained):
    ids, _ = trained.recommend([[20, 21, *HISTORIES[1]]], 40)
    assert not {20, 21, *HISTORIES[1]} & set(ids[0].tolist())


def test_evaluation_leaves_out_more_than_the_model_sees():
    data = ClusteredData(max_history=2)
    model = small_model(exclude_history=True)
    fit(model, data)
    batch = next(iter(data.test_dataloader()))
    assert batch.history.shape[1] == 2
    assert batch.items_before.shape[1] == 7  # 8 events, the last is the target
    assert next(iter(data.train_dataloader())).whole_history is None


def test_recommend_without_enough_candidates(trained):
    ids, scores = trained.recommend([[1, 2, 3]], n=40)
    assert sorted(ids[0, :37].tolist()) == list(range(4, 41))
    assert ids[0, 37:].tolist() == [0, 0, 0]
    assert scores[0, 37:].tolist() == [-math.inf] * 3


@pytest.mark.parametrize("histories", [[[], [5]], [[]], torch.zeros(1, 0, dtype=torch.long)])
def test_recommend_for_empty_histories(trained, histories):
    ids, scores = trained.recommend(histories, n=5)
    assert ids.shape == (len(histories), 5)
    assert (ids > 0).all()
    assert torch.isfinite(scores).all()
    assert torch.equal(ids[0], trained.recommend(torch.tensor([[0, 0]]), n=5)[0][0])


def test_recommend_for_nobody(trained):
    assert trained.recommend([], n=5)[0].shape == (0, 5)


@pytest.mark.parametrize(
    ("histories", "n", "message"),
    [
        ([[1]], 41, "n must be in 1 … 40, the number of items, got 41"),
        ([[1]], 0, "n must be in 1 … 40"),
        ([[1], [2, 41]], 5, r"item ids 1 … 40 \(0 = padding\), got 0 … 41"),
        (torch.tensor([[-1, 3]]), 5, "got -1 … 3"),
    ],
)
def test_recommend_refuses(trained, histories, n, message):
    with pytest.raises(ValueError, match=message):
        trained.recommend(histories, n)


@pytest.mark.parametrize("training", [True, False])
def test_recommend_neither_drops_nor_changes_the_mode(trained, training):
    trained.train(training)
    assert torch.equal(trained.recommend(HISTORIES, 20)[1], trained.recommend(HISTORIES, 20)[1])
    with pytest.raises(ValueError, match="n must be"):
        trained.recommend(HISTORIES, 99)
    assert {module.training for module in trained.modules()} == {training}


# ---------------------------------------------------------------------- construction


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_items": 0}, "num_items must be at least 1, got 0"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1, got 0"),
        ({"similarity": "cosin"}, "unknown similarity 'cosin'; did you mean 'cosine'"),
        ({"lr_scheduler_interval": "batch"}, "lr_scheduler_interval must be"),
        ({"ns": ()}, "ns"),
        ({"ns": (5, 5)}, "ns"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


# ---------------------------------------------------------------------- several processes


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


def test_cosine_vectors_have_unit_length():
    history = torch.randint(0, 41, (6, 5))
    batch = RetrievalBatch(history, targets=history[:, :1], users=history[:, 0])
    for cls in (YouTubeDNN, ThreeInterests):
        for similarity in ("cosine", "dot"):
            model = small_model(cls, similarity=similarity)
            users, items, some_items = (
                model.encode_users(batch),
                model.encode_items(None),
                model.encode_items(history),
            )
            for vectors in (users, items, some_items):
                lengths = vectors.norm(dim=-1)
                unit = torch.where(lengths == 0, lengths, 1.0)  # padding has no direction
                assert torch.allclose(lengths, unit, atol=1e-5) == (similarity == "cosine")
            assert functional.cosine_similarity(items, model.item_embedding.weight[1:]).min() > 0.999
