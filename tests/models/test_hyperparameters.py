"""The constructor's arguments in checkpoints, as plain types."""

import functools
import inspect

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau

from lightning_croloss import (
    MIND,
    CROLoss,
    RetrievalModel,
    SASRec,
    TargetNImportance,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from tests.data_for_tests import small_model
from tests.models.small_models import HISTORIES, saved


@pytest.mark.parametrize("cls", [YouTubeDNN, TwoTower, MIND, SASRec])
def test_the_hyperparameters_hold_every_default(cls):
    model = cls(num_items=1000)
    expected = {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if issubclass(base, RetrievalModel)
        for name, parameter in inspect.signature(base).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    kept = {name: value for name, value in model.hparams.items() if not name.startswith("_")}
    assert kept == {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in (expected | {"num_items": 1000}).items()
    }


def test_a_checkpoint_that_lacks_the_defaults_loads(tmp_path):
    model = YouTubeDNN(num_items=40, ns=(5, 10), negatives=UniformNegatives(30))
    saved(tmp_path / "model.ckpt", model)
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    for name in ("embedding_dim", "similarity", "loss", "optimizer", "tile_elements", "exclude_history"):
        del content["hyper_parameters"][name]  # as checkpoints of Python-built models were
    torch.save(content, tmp_path / "old.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    assert again.hparams["embedding_dim"] == 64


def test_numpy_numbers_and_partials_in_hyperparameters(tmp_path):
    model = small_model(
        embedding_dim=np.int64(6),
        dropout=np.float64(0.25),
        ns=np.array([5, 10]).tolist(),
        hidden_dims=[np.int32(4)],
        loss=CROLoss(temperature=np.float32(0.25), importance=TargetNImportance(np.int64(9))),
        optimizer=functools.partial(torch.optim.AdamW, lr=np.float64(0.01), betas=(np.float64(0.8), 0.9)),
        lr_scheduler=functools.partial(ReduceLROnPlateau, monitor="val/recall@5", patience=3),
    )
    saved(tmp_path / "model.ckpt", model)
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    optimizer = again.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.8, 0.9)
    assert again.configure_optimizers()["lr_scheduler"]["scheduler"].patience == 3
    assert again.configure_optimizers()["lr_scheduler"]["monitor"] == "val/recall@5"
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])


@pytest.mark.parametrize("argument", ["optimizer", "lr_scheduler"])
def test_a_function_is_refused_before_training(argument):
    with pytest.raises(TypeError, match=r"cannot be kept in a checkpoint: .* functools.partial of a class"):
        small_model(**{argument: lambda parameters: torch.optim.Adam(parameters)})
