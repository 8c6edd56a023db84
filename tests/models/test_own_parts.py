"""That a model leaves the loss and the sampler that it is given as they are, and works with copies."""

import pytest
import torch

from lightning_croloss import (
    CROLoss,
    CROLossCallback,
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    RetrievalModel,
    SoftmaxLoss,
    TargetNImportance,
    UniformNegatives,
)
from lightning_croloss.configurable import to_config
from lightning_croloss.negatives import Negatives
from tests.data_for_tests import ClusteredData, fit, small_model

SIZES = (40, 80)
SAMPLERS = {
    "uniform": lambda: UniformNegatives(30),
    "full": FullCatalogNegatives,
    "popularity": lambda: PopularityNegatives(30),
    "in-batch": InBatchNegatives,
    "mixed": lambda: MixedNegatives([UniformNegatives(9), InBatchNegatives(), PopularityNegatives(9)]),
}
samplers = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)


def parts_of(sampler):
    """Return a sampler and all samplers inside it."""
    return [part for part in sampler.modules() if isinstance(part, Negatives)]


def test_one_loss_gives_two_models_the_size_of_their_own_catalogue():
    loss = CROLoss()
    models = [small_model(num_items=size, loss=loss) for size in SIZES]
    assert [model.loss.num_items for model in models] == [40, 80]
    assert loss.num_items is None


def test_one_loss_of_two_models_computes_what_two_losses_do():
    def value(model):
        vectors = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
        return float(model.loss.from_embeddings(vectors[:2], vectors[2:4], vectors[4:]))

    loss = CROLoss()
    shared = [value(small_model(num_items=size, loss=loss)) for size in SIZES]
    assert shared == [value(small_model(num_items=size, loss=CROLoss())) for size in SIZES]
    assert shared[0] != shared[1]  # the size matters: the rank is scaled to the catalogue


def test_a_loss_of_a_stated_size_is_copied_too():
    """Else a schedule of one model's training would go on in another model."""
    loss = CROLoss(num_items=40)
    one, other = small_model(loss=loss), small_model(loss=loss)
    fit(one, callbacks=[CROLossCallback(alpha=1.5)], limit_train_batches=1)
    assert [float(each.importance.alpha) for each in (loss, one.loss, other.loss)] == [1.0, 1.5, 1.0]


def test_the_callback_schedules_the_copy_that_the_model_trains_with():
    loss = SoftmaxLoss(0.2)
    model = small_model(loss=loss)
    fit(model, callbacks=[CROLossCallback(temperature=0.3)], limit_train_batches=1)
    assert float(model.loss.schedulable()["temperature"]) == 0.3
    assert float(loss.schedulable()["temperature"]) == 0.2


@samplers
def test_one_sampler_gives_two_models_the_size_of_their_own_catalogue(make):
    sampler = make()
    models = [small_model(num_items=size, negatives=sampler) for size in SIZES]
    for model, size in zip(models, SIZES, strict=True):
        assert {part.num_items for part in parts_of(model.negatives)} == {size}
        assert len(parts_of(model.negatives)) == len(parts_of(sampler))
    assert {part.num_items for part in parts_of(sampler)} == {0}


@samplers
def test_one_sampler_trains_two_models_on_data_of_different_sizes(make):
    sampler = make()
    models = [small_model(num_items=size, negatives=sampler) for size in SIZES]
    for model, size in zip(models, SIZES, strict=True):
        fit(model, ClusteredData(num_items=size), limit_train_batches=2)
    for model, size in zip(models, SIZES, strict=True):
        drawn = model.negatives.sample(next(iter(ClusteredData(num_items=size).train_dataloader()))).ids
        assert 1 <= int(drawn.min()) <= int(drawn.max()) <= size
    with pytest.raises(RuntimeError, match=r"does not know the catalogue|sample first"):
        sampler.log_prob(torch.tensor([1]))


def test_a_part_that_is_given_twice_stays_one():
    part = UniformNegatives(9)
    mixture = small_model(negatives=MixedNegatives([part, part])).negatives
    assert mixture.parts[0] is mixture.parts[1]
    assert mixture.parts[0] is not part


@samplers
def test_hyperparameters_and_checkpoints_hold_what_was_given(make, tmp_path):
    loss, sampler = CROLoss("softplus", temperature=0.2), make()
    model = small_model(loss=loss, negatives=sampler)
    assert model.hparams["loss"] == to_config(loss)
    assert model.hparams["loss"]["init_args"]["num_items"] is None
    assert model.hparams["negatives"] == to_config(sampler)
    fit(model, limit_train_batches=1).save_checkpoint(tmp_path / "model.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert again.hparams == model.hparams
    assert again.loss.num_items == 40
    assert {part.num_items for part in parts_of(again.negatives)} == {40}


def test_the_loss_learns_the_size_of_the_catalogue():
    assert small_model(loss=CROLoss()).loss.num_items == 40
    assert small_model(loss=CROLoss(num_items=40)).loss.num_items == 40
    with pytest.raises(ValueError, match="the loss was given num_items=50, but the catalogue has 40 items"):
        small_model(loss=CROLoss(num_items=50))
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 41"):
        small_model(loss=CROLoss(importance=TargetNImportance(41)))


class Keeping(SoftmaxLoss):
    """Keeps the losses of the last step with their graph, as it should not."""

    def row_losses(self, batch):
        self.last = super().row_losses(batch)
        return self.last


def test_a_loss_that_cannot_be_copied_is_refused_in_one_sentence():
    loss = Keeping()
    scores = torch.randn(3, 5, requires_grad=True)
    loss(scores[:, 0], scores[:, 1:])
    with pytest.raises(TypeError, match=r"^loss: .* copy, and this Keeping cannot .* one$"):
        small_model(loss=loss)
