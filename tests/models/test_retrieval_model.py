"""RetrievalModel: its arguments, its checkpoints, and what it says of itself."""

import pytest
import torch

from lightning_croloss import (
    CROLossCallback,
    MatrixFactorization,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TwoTower,
    YouTubeDNN,
)
from tests.data_for_tests import fit, small_model
from tests.models.cases import FEATURES
from tests.models.small_models import HISTORIES, saved


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


@pytest.mark.parametrize("cls", [YouTubeDNN, RetrievalModel])
def test_a_checkpoint_is_enough_to_build_the_model_again(checkpoint, cls):
    path, model = checkpoint
    again = cls.load_from_checkpoint(path, weights_only=True)
    assert type(again) is YouTubeDNN
    assert again.hparams == {**again.hparams, **model.hparams}
    assert again.pooling == "max"
    assert again.negatives.exclude_known_positives
    assert {name: float(value) for name, value in again.loss.schedulable().items()} == {
        "temperature": 0.2,
        "lambda_weight": 0.5,
        "n": 10.0,
        "sharpness": 1.0,
    }
    for got, expected in zip(again.recommend(HISTORIES, 9), model.recommend(HISTORIES, 9), strict=True):
        assert torch.equal(got, expected)


def test_a_checkpoint_loads_with_another_loss(checkpoint, tmp_path):
    path, model = checkpoint
    again = YouTubeDNN.load_from_checkpoint(path, weights_only=True, loss=SoftmaxLoss(0.3))
    assert isinstance(again.loss, SoftmaxLoss)
    assert again.loss.num_items == 40
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    saved(tmp_path / "next.ckpt", again)
    third = RetrievalModel.load_from_checkpoint(tmp_path / "next.ckpt", weights_only=True)
    assert float(third.loss.temperature) == 0.3


def test_what_a_schedule_set_does_not_travel(tmp_path):
    model = small_model()
    fit(model, callbacks=[CROLossCallback(temperature=0.7)]).save_checkpoint(tmp_path / "model.ckpt")
    assert float(model.loss.temperature) == 0.7
    again = YouTubeDNN.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert float(again.loss.temperature) == 0.1


def test_facts_is_metadata():
    model = small_model()
    with pytest.warns(FutureWarning, match=r"RetrievalModel\.facts is deprecated .* use metadata") as seen:
        assert model.facts is model.metadata
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("build", "ids", "num_users", "max_length", "knows_users"),
    [
        (lambda: YouTubeDNN(num_items=40, ns=(5,)), 1, 0, None, False),
        (lambda: SASRec(num_items=40, ns=(5,), max_length=7), 1, 0, 7, False),
        (lambda: MatrixFactorization(num_items=40, num_users=9, ns=(5,)), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, num_users=9, ns=(5,), use_user_id=True), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, ns=(5,), **FEATURES), 1, 60, None, True),
        (lambda: YouTubeDNN(num_items=40, ns=(5,), use_item_id=False, **FEATURES), 0, 60, None, True),
    ],
)
def test_every_model_says_what_it_has(build, ids, num_users, max_length, knows_users):
    model = build()
    assert len(model.id_embeddings()) == ids
    assert (model.num_users, model.max_length, model.knows_users) == (num_users, max_length, knows_users)
    for name in ("item_embedding", "user_embedding", "item_feature_embedding", "user_feature_embedding"):
        assert (getattr(model, name) is not None) == (name in dict(model.named_children()))
