"""Training on targets further ahead: the loss is the mean over all of them, with every sampler."""

import pytest
import torch

from lightning_croloss import (
    BERT4Rec,
    FullCatalogNegatives,
    InBatchNegatives,
    MatrixFactorization,
    MixedNegatives,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss.data import DataRequest, RetrievalBatch
from lightning_croloss.models.windows import one_target_a_row
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.models.cases import same
from tests.models.sequences import MODELS, WAYS, small_sequence_model

EXACT = {"loss": SoftmaxLoss(0.3), "negatives": FullCatalogNegatives(exclude_known_positives=True)}


def mean_over_targets(model, batch):
    """The loss of a batch of (B, T) targets, one call for each of them."""
    losses, weights = [], []
    for row in range(batch.batch_size):
        for number, target in enumerate(batch.targets[row].tolist()):
            if target:
                one = batch.select(torch.tensor([row]))
                one.targets, one.sample_weight = torch.tensor([[target]]), None
                losses.append(model.loss_of(one))
                weights.append(float(batch.sample_weight[row, number]))
    weight = torch.tensor(weights, dtype=losses[0].dtype)
    return (torch.stack(losses) * weight).sum() / weight.sum()


@pytest.mark.parametrize(
    "build",
    [
        lambda: small_model(**EXACT),
        lambda: MatrixFactorization(40, num_users=60, embedding_dim=8, ns=(5,), **EXACT),
        lambda: small_sequence_model(MODELS[0], **EXACT),
    ],
    ids=["history", "users", "sequence"],
)
def test_the_loss_of_several_targets_is_their_weighted_mean(build):
    model = build().double()
    batch = RetrievalBatch(
        torch.tensor([[0, 1, 2], [3, 4, 5], [0, 0, 6]]),
        torch.tensor([[7, 8], [9, 0], [10, 11]]),
        torch.tensor([1, 2, 3]),
        torch.tensor([[1.0, 2.0], [0.5, 0.0], [1.5, 3.0]], dtype=torch.float64),
        torch.tensor([[1, 2, 7], [3, 9, 0], [6, 10, 11]]),
    )
    torch.testing.assert_close(model.loss_of(batch), mean_over_targets(model, batch))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_all_positions_have_the_loss_of_single_rows(cls, count):
    """Users of at most 8 events in windows of 9, so that a window holds what a single row has."""
    losses = []
    for train_on in ("all", "last"):
        data = ClusteredData(
            batch_size=1000, max_history=9, seed=1, target_window=4, targets_per_history=count
        )
        data.prepare_for(DataRequest(all_positions=train_on == "all", known_positives=True))
        (batch,) = data.train_dataloader()
        model = small_sequence_model(cls, train_on="all", dropout=0.0, **EXACT).double()
        model.all_positions = train_on == "all"
        if train_on == "last" and hasattr(model, "place_embedding"):
            # positions count from the beginning in both
            model.positioned = lambda events, numbers, lengths, m=model: (
                events * 8**0.5 + m.place_embedding((numbers - 1).clamp(min=0))
            )
        losses.append(model.loss_of(batch))
        users, flat = one_target_a_row(*model.training_users(batch))
        assert len(users) == flat.batch_size == int((batch.targets != 0).sum()) == 60 * {1: 5, 3: 12}[count]
    torch.testing.assert_close(*losses)


@pytest.mark.filterwarnings("ignore:.*negatives are drawn out of")
@pytest.mark.parametrize(
    "negatives",
    [
        UniformNegatives(20, exclude_known_positives=True),
        UniformNegatives(5, shared=False),
        InBatchNegatives(exclude_known_positives=True),
        MixedNegatives([InBatchNegatives(), UniformNegatives(10)]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("train_on", ["last", "all"])
def test_samplers_see_the_targets_one_by_one(negatives, train_on):
    data = ClusteredData(batch_size=8, target_window=4, targets_per_history=2)
    model = small_sequence_model(MODELS[0], train_on=train_on, negatives=negatives)
    trainer = fit(model, data, limit_train_batches=3)
    assert bool(torch.isfinite(trainer.callback_metrics["train/loss"]))


@pytest.mark.parametrize("fields", [{"target_window": 4}, {"target_window": 4, "targets_per_history": 3}])
@pytest.mark.parametrize(("cls", "train_on"), WAYS[:4], ids=lambda value: getattr(value, "__name__", value))
def test_the_fields_change_training_and_a_resumed_run_equals_the_uninterrupted_one(
    cls, train_on, fields, tmp_path
):
    def build():
        return small_sequence_model(cls, train_on=train_on, history_dropout=0.3, dropout=0.3)

    def data(**more):
        return ClusteredData(batch_size=16, seed=1, **fields, **more)

    whole, resumed, plain = build(), build(), build()
    options = {"limit_val_batches": 0, "max_epochs": 2}
    fit(whole, data(), **options)
    fit(plain, ClusteredData(batch_size=16, seed=1), **options)
    assert not same(dict(whole.state_dict()), dict(plain.state_dict()))
    begun = fit(build(), data(), **options, max_steps=6)
    begun.save_checkpoint(tmp_path / "one.ckpt")  # in the middle of an epoch
    torch.manual_seed(12345)
    fit(resumed, data(), **options, ckpt_path=tmp_path / "one.ckpt")
    assert same(dict(whole.state_dict()), dict(resumed.state_dict()))


def test_bert4rec_has_no_later_targets():
    model = BERT4Rec(40, embedding_dim=8, ns=(5,), max_length=10)
    with pytest.raises(ValueError, match="tell masked events, not later ones: set target_window=3 to 1"):
        fit(model, ClusteredData(target_window=3))
