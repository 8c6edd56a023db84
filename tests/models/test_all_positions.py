"""Training on all positions at once: the same targets and the same loss as one by one."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback

from lightning_croloss import (
    HSTU,
    FullCatalogNegatives,
    InBatchNegatives,
    RetrievalModel,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss.data import DataRequest, Interactions, LeaveOneOut, SequenceDataset, Vocabulary
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.sequence_model import TRAIN_ON
from lightning_croloss.models.transformer_model import TransformerModel
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.models.sequences import MODELS, batch_of, small_sequence_model

pytestmark = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)


def model_without_chance(cls, **kwargs):
    """Return a model whose loss is a function of the batch, in double precision."""
    arguments = {"train_on": "all", "dropout": 0.0, "negatives": FullCatalogNegatives(), **kwargs}
    return small_sequence_model(cls, **arguments).double()


def loss_one_by_one(model, batch):
    """Return the loss of a batch of single targets, each the end of a history of its own."""
    model.training_users = lambda batch: (model.encode_users(batch), batch)
    loss = model.loss_of(batch)
    del model.training_users
    return loss


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
    exclude=st.booleans(),
)
def test_the_loss_is_the_mean_over_the_targets_one_by_one(cls, lengths, seed, weighted, exclude):
    rng = np.random.default_rng(seed)
    users, count = np.repeat(np.arange(1, len(lengths) + 1), lengths), sum(lengths)
    data = Interactions.from_ids(
        users,
        rng.integers(1, 41, count),
        Vocabulary([f"user {number}" for number in range(len(lengths))]),
        Vocabulary([f"item {number}" for number in range(40)]),
        weights=rng.random(count) + 0.1 if weighted else None,
    )
    rows = LeaveOneOut().assign(data)
    negatives = FullCatalogNegatives(exclude_known_positives=exclude)
    model = model_without_chance(cls, loss=SoftmaxLoss(0.3), negatives=negatives)
    losses, gradients = [], []
    for all_positions in (True, False):
        dataset = SequenceDataset(
            data, rows.train, 9, exclude, rows.training_events, all_positions=all_positions
        )
        batch = dataset.__getitems__(torch.arange(len(dataset)))
        assert not all_positions or len(dataset) == len(lengths)  # the windows hold whole users
        losses.append(model.loss_of(batch) if all_positions else loss_one_by_one(model, batch))
        used = [
            value
            for name, value in model.named_parameters()
            if not name.endswith(("empty_user", "time_bias"))
        ]
        gradients.append(torch.autograd.grad(losses[-1], used))
    torch.testing.assert_close(*losses)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


class TargetsSeen(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        users, flat = model.training_users(batch)
        assert users.shape == (flat.batch_size, 1, model.embedding_dim)
        self.seen += zip(flat.users.tolist(), flat.targets[:, 0].tolist(), strict=True)


@pytest.mark.parametrize("max_history", [1, 2, 3, 5, 9])
def test_an_epoch_has_each_target_once(cls, max_history):
    data, seen = ClusteredData(max_history=max_history, batch_size=7), TargetsSeen()
    fit(small_sequence_model(cls, train_on="all"), data, callbacks=[seen], limit_val_batches=0)
    first = data.rows.train.first
    pairs = zip(data.interactions.users[first].tolist(), data.interactions.items[first].tolist(), strict=True)
    assert Counter(seen.seen) == Counter(pairs)


def test_dropped_events_are_gone_and_every_target_stays(cls):
    model = model_without_chance(cls, history_dropout=0.5).train()
    if hasattr(model, "place_embedding"):
        torch.nn.init.zeros_(model.place_embedding.weight)  # in which dropped events leave gaps
    if cls is HSTU:
        for block in model.blocks:
            torch.nn.init.zeros_(block.position_bias)  # the same
    history, targets = [0, 1, 2, 3, 4, 5, 6, 7], [9, 11, 12, 0, 14, 15, 16, 17]
    torch.manual_seed(1)
    dropped = (torch.rand(1, 8) < 0.5)[0].tolist()
    assert dropped[1]  # the first event, so that a target is left with nothing before it
    torch.manual_seed(1)
    users, flat = model.training_users(batch_of(history, targets=[targets]))
    assert flat.targets[:, 0].tolist() == [9, 11, 12, 14, 15, 16, 17]
    assert flat.history[:, 0].tolist() == [0, 1, 2, 4, 5, 6, 7]
    model.eval()
    kept = 0
    for user, position in zip(users, (0, 1, 2, 4, 5, 6, 7), strict=True):
        left = [history[i] for i in range(1, position + 1) if not dropped[i]]
        torch.testing.assert_close(user, model.encode_users(batch_of([0, *left]))[0])
        kept += len(left)
    assert kept > 0


@pytest.mark.parametrize(
    "negatives", [UniformNegatives(30, exclude_known_positives=True), InBatchNegatives()]
)
def test_samplers_see_the_targets_one_by_one(cls, negatives):
    model = small_sequence_model(cls, train_on="all", negatives=negatives)
    trainer = fit(model, ClusteredData(batch_size=8))
    assert bool(torch.isfinite(trainer.callback_metrics["train/loss"]))
    batch = ClusteredData(batch_size=8)
    batch.prepare_for(DataRequest(known_positives=True, all_positions=True))
    batch = next(iter(batch.train_dataloader()))
    _, flat = model.training_users(batch)
    assert flat.batch_size == int((batch.targets != 0).sum())
    assert flat.known_positives.shape == (flat.batch_size, batch.known_positives.shape[1])
    for user, known in zip(flat.users.tolist(), flat.known_positives.tolist(), strict=True):
        assert known == batch.known_positives[batch.users.tolist().index(user)].tolist()


@pytest.mark.slow
def test_another_model_trains_on_the_same_data(cls):
    data = ClusteredData()
    for model in (small_sequence_model(cls, train_on="all"), small_sequence_model(cls), small_model()):
        fit(model, data, limit_train_batches=2)
        assert data.request.all_positions is model.all_positions
    assert not small_model().all_positions


def test_a_batch_without_these_targets_is_refused(cls):
    model = small_sequence_model(cls, train_on="all")
    message = r"needs targets of the shape \(1, 3\) of the history, got \(1, 1\): call prepare_for"
    with pytest.raises(ValueError, match=message):
        model.loss_of(batch_of([1, 2, 3]))


@pytest.mark.parametrize("train_on", TRAIN_ON)
def test_weights_never_count_positions_from_the_other_end(cls, train_on, tmp_path):
    model, path = small_sequence_model(cls, train_on=train_on), tmp_path / "model.ckpt"
    fit(model, limit_train_batches=1, limit_val_batches=0).save_checkpoint(path)
    other = next(each for each in TRAIN_ON if each != train_on)
    batch = batch_of([0, 0, 3, 5], [7, 1, 2, 9])
    encoded = model.eval().encode_users(batch)
    assert torch.equal(RetrievalModel.load_from_checkpoint(path).eval().encode_users(batch), encoded)
    if not issubclass(cls, TransformerModel):  # which has no positions
        again = cls.load_from_checkpoint(path, train_on=other).eval()
        assert torch.equal(again.encode_users(batch), encoded)
        return
    said = f"train_on='{other}' was given, but the checkpoint was trained with '{train_on}'"
    with pytest.raises(PretrainedError, match=said):
        cls.load_from_checkpoint(path, train_on=other)
    made = small_sequence_model(cls, train_on=other)
    with pytest.raises(ValueError, match=said):
        quiet_trainer().test(made, ClusteredData(), ckpt_path=path, weights_only=True)
